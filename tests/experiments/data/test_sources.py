import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from experiments.config.schema import DataConfig
from experiments.data.decoding import decode_files
from experiments.data.folder import list_folder
from experiments.data.images import channel_statistics
from experiments.data.sources import load_data
from search_spaces.records import InputError


def test_digits_are_scaled_to_the_full_range():
    data = load_data(DataConfig(), seed=0)
    parts = data.train, data.validation, data.test
    assert [len(part) for part in parts] == [1150, 288, 359]
    stored = np.concatenate([part.images[:, 0].reshape(len(part), -1) for part in parts])
    wanted = np.rint(load_digits().data * 255 / 16).astype(np.uint8)
    assert np.array_equal(stored[np.lexsort(stored.T)], wanted[np.lexsort(wanted.T)])
    assert (data.num_classes, data.channels, data.image_size) == (10, 1, 8)


def test_digits_are_resized_when_asked():
    assert load_data(DataConfig(image_size=12), seed=0).train.images.shape == (1150, 1, 12, 12)


def test_statistics_are_those_of_numpy():
    images = np.random.default_rng(0).integers(0, 256, (1500, 3, 5, 5), dtype=np.uint8)
    images[:, 2] = 7
    statistics = channel_statistics(images)
    assert statistics.mean == pytest.approx((images / 255).mean(axis=(0, 2, 3)))
    assert statistics.std[:2] == pytest.approx((images / 255).std(axis=(0, 2, 3))[:2])
    assert statistics.std[2] == 1 / 255  # a constant channel is not divided by zero


def test_images_get_the_label_of_their_folder(flat):
    data = load_data(DataConfig(source=str(flat)), seed=0)
    assert data.classes == ("cat", "dog")
    for part in (data.train, data.validation, data.test):
        assert [int(level >= 100) for level in part.images[:, 0, 0, 0]] == part.labels.tolist()
    assert sum(len(part) for part in (data.train, data.validation, data.test)) == 20


def test_order_of_the_file_system_does_not_matter(flat, monkeypatch):
    before = load_data(DataConfig(source=str(flat)), seed=0).fingerprint
    scandir = os.scandir

    class Backwards(list):
        __enter__ = list.copy
        __exit__ = lambda *_: None  # noqa: E731

    monkeypatch.setattr(os, "scandir", lambda path: Backwards(list(scandir(path))[::-1]))
    monkeypatch.setenv("SCALER_CACHE", str(flat.parent / "other_cache"))
    assert load_data(DataConfig(source=str(flat)), seed=0).fingerprint == before


def test_folder_is_found_as_given_and_under_scaler_data(flat, monkeypatch):
    config = DataConfig(source="flat")
    monkeypatch.chdir(flat.parent)
    as_given = load_data(config, seed=0)
    monkeypatch.chdir("/")
    monkeypatch.setenv("SCALER_DATA", str(flat.parent))
    assert load_data(config, seed=0).fingerprint == as_given.fingerprint


def test_unknown_source_names_the_places_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as unset:
        load_data(DataConfig(source="flowers"), seed=0)
    for part in (f"'{tmp_path / 'flowers'}'", "SCALER_DATA is not set", "`digits`", "path"):
        assert part in str(unset.value)
    monkeypatch.setenv("SCALER_DATA", str(tmp_path / "data"))
    with pytest.raises(InputError, match=f"nor at '{tmp_path}/data/flowers'"):
        load_data(DataConfig(source="flowers"), seed=0)


def test_default_size_is_chosen_without_the_test_part(parted, paint):
    paint(parted / "test" / "cat" / "large.png", size=(32, 32))
    assert load_data(DataConfig(source=str(parted)), seed=0).test.images.shape == (5, 3, 8, 8)


def cifar10() -> Path | None:
    folder = Path(os.environ.get("SCALER_DATA", "")) / "cifar10"
    return folder if "SCALER_DATA" in os.environ and folder.is_dir() else None


CIFAR10 = cifar10()


@pytest.mark.skipif(CIFAR10 is None, reason="no folder cifar10 under SCALER_DATA")
def test_cifar10_folder_is_listed_whole():
    parts = list_folder(CIFAR10).parts
    assert {part: len(files) for part, files in parts.items()} == {"train": 50_000, "test": 10_000}


@pytest.mark.skipif(CIFAR10 is None, reason="no folder cifar10 under SCALER_DATA")
def test_cifar10_has_the_published_channel_means():
    listing = list_folder(CIFAR10)
    some = listing.parts["train"][::25]
    images = decode_files(some, image_size=32)
    assert channel_statistics(images).mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.01)
