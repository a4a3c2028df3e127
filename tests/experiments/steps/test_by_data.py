"""Settings that follow from the data where a search names no config."""

import numpy as np
import pytest

from experiments.config.recipe import TrainConfig
from experiments.config.schema import SearchConfig
from experiments.config.sections import ClusterSection
from experiments.data.boxes import Boxes
from experiments.data.images import ImageData, Split
from experiments.steps.by_data import settings_by_data, settings_of


def data_of(count, side, *, name="photos", masks=False, boxes=None):
    images = np.zeros((count, 3, side, side), dtype=np.uint8)
    pixels = np.zeros((count, side, side), dtype=np.uint8) if masks else None
    part = Split(images, np.zeros(count, dtype=np.int64), masks=pixels, boxes=boxes)
    return ImageData(name, ("a", "b"), part, part, part, fingerprint="")


@pytest.mark.parametrize(
    ("count", "side", "cards", "expected"),
    [
        (4000, 32, False, {}),
        (4000, 160, False, {"search.resolution": 64}),
        (4000, 160, True, {"search.resolution": 128}),
        (4000, 48, True, {"search.resolution": 48}),
        (2000, 32, False, {"train.batch_size": 32, "train.learning_rate_batch": 64}),
        (100, 32, False, {"train.batch_size": 16, "train.learning_rate_batch": 64}),
    ],
)
def test_resolution_follows_from_the_images_and_the_batch_from_their_number(
    count, side, cards, expected
):
    assert settings_of(data_of(count, side), cards=cards) == expected


def test_digits_are_not_mirrored_and_masks_and_boxes_have_a_space_of_their_own():
    assert settings_of(data_of(4000, 32, name="digits"), cards=False) == {"data.flip": False}
    dense = settings_of(data_of(300, 256, masks=True), cards=False)
    assert dense["search.space"] == "mbconv_dense"
    assert dense["search.resolution"] == 96
    none = Boxes.of([np.zeros((0, 4))] * 30, [np.zeros(0)] * 30)
    found = settings_of(data_of(30, 224, boxes=none), cards=False)
    assert (found["search.space"], found["search.resolution"]) == ("mbconv_detect", 160)


def test_a_space_that_was_named_keeps_its_resolution(tmp_path):
    config = SearchConfig(name="digits", run=tmp_path)
    named = config.replace(search=config.search.replace(space="residual"))
    assert "search.resolution" not in settings_by_data(named)


def test_a_setting_that_the_user_gave_is_not_said_to_follow_from_the_data(tmp_path, capsys):
    config = SearchConfig(name="digits", run=tmp_path)
    settings_by_data(config.replace(search=config.search.replace(resolution=24)))
    said = capsys.readouterr().err
    assert "data.flip=False" in said
    assert "search.resolution" not in said


def test_the_cards_of_a_cluster_are_not_looked_for_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.steps.by_data.check_cluster", lambda _: None)
    cluster, train = ClusterSection(address="10.0.0.1:6379"), TrainConfig(device="cuda")
    config = SearchConfig(name="digits", run=tmp_path, cluster=cluster, train=train)
    assert settings_by_data(config)["search.resolution"] == 16


def test_a_run_that_was_begun_keeps_its_settings(tmp_path):
    config = SearchConfig(name="digits", run=tmp_path)
    assert settings_by_data(config)["search.resolution"] == 16
    begun = config.replace(search=config.search.replace(resolution=24, epochs=7))
    (tmp_path / "config.yaml").write_text(begun.to_yaml())
    assert settings_by_data(config)["search.resolution"] == 24
