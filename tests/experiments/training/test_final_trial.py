"""A final training leaves a checkpoint from which the network can be taken away whole."""

import re
import resource

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.config.schema import DataConfig, TrainConfig
from experiments.export import load_exported, write_exported
from experiments.export.model import checkpoint_model
from experiments.training.checkpoint import load_tensors
from experiments.training.training import Training
from experiments.training.trial import BEST, STATE, TrainingEvaluation
from search_spaces import resize


def test_an_exported_training_scores_raw_test_images_as_the_training_did(data, small, tmp_path):
    evaluation = TrainingEvaluation(
        data=data,
        data_config=DataConfig(),
        train_config=TrainConfig(batch_size=16, learning_rate=0.05, device="cpu"),
        epochs=3,
        final=True,
    )
    measured = evaluation(small, report=lambda *_: None, seed=0, checkpoint_dir=tmp_path)
    write_exported(checkpoint_model(tmp_path / "weights.safetensors"), tmp_path / "out")
    model = load_exported(tmp_path / "out")
    with torch.no_grad():
        scores = model.network(model.preprocessing(torch.from_numpy(data.test.images)))
    right = (scores.argmax(1).numpy() == data.test.labels).mean()
    assert abs(right - measured["test_accuracy"]) < 1e-6
    assert model.metrics["test_accuracy"] == measured["test_accuracy"]
    assert model.preprocessing.mean == data.statistics.mean
    card = (tmp_path / "out" / "README.md").read_text()
    # the weights are the best epoch's
    assert re.search(r"Trained (to epoch \d of 3|for 3 epochs) on 100 images of `bars`", card)


class Killed(BaseException):
    """What a kill is to an evaluation: it comes at a report, and nothing after it runs."""


def settings(data, rate):
    """Flipped bars change their class, so that accuracies go up and down at these rates."""
    recipe = TrainConfig(batch_size=16, learning_rate=rate, device="cpu")
    return {"data": data, "data_config": DataConfig(flip=True), "epochs": 6}, recipe


def final_trial(data, rate, architecture, folder, *, killed_at=None):
    def report(epoch, *_):
        if epoch == killed_at:
            raise Killed

    shared, recipe = settings(data, rate)
    evaluation = TrainingEvaluation(train_config=recipe, final=True, **shared)
    folder.mkdir(exist_ok=True)
    return evaluation(architecture, report=report, seed=0, checkpoint_dir=folder)


def test_the_best_epochs_weights_are_tested_as_scaler_train_does(data, small, tmp_path):
    small = small.replace(resolution=8)
    shared, recipe = settings(data, 0.1)
    training = Training(architecture=small, config=recipe, seed=0, **shared)
    rows = [(r.accuracy, -r.epoch, training.test(r.network)) for r in training.run()]
    accuracy, _, tested = max(rows)  # of equal epochs the first
    assert tested != rows[-1][2]
    told = final_trial(data, 0.1, small, tmp_path)
    assert (told["accuracy"], told["test_accuracy"]) == (accuracy, tested)


@pytest.mark.parametrize(("rate", "last"), [(0.1, 5), (0.2, 4)])
def test_a_killed_final_training_ends_with_the_same_weights(data, small, tmp_path, rate, last):
    whole, again, small = tmp_path / "whole", tmp_path / "again", small.replace(resolution=8)
    told = final_trial(data, rate, small, whole)
    with pytest.raises(Killed):
        final_trial(data, rate, small, again, killed_at=last)
    assert (again / STATE).is_file()
    assert final_trial(data, rate, small, again) == told
    one, other = (load_tensors(folder / "weights.safetensors") for folder in (whole, again))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not (again / BEST).exists()


def test_a_training_takes_its_memory_once(data, small):
    """Else the system clears each page anew at every step, which is half of the time."""
    shared, recipe = settings(data, 0.1)
    training = Training(
        architecture=small, config=recipe.replace(batch_size=64), seed=0, resolution=48, **shared
    )
    faults = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt for _ in training.run()]
    assert faults[-1] - faults[-2] < 1_000  # pages of 4 kB


def test_beside_the_weights_lies_what_was_told_of_each_class(data, small, tmp_path):
    told = final_trial(data, 0.1, small.replace(resolution=8), tmp_path)
    classes, pairs = (pd.read_csv(tmp_path / name) for name in ("classes.csv", "confusion.csv"))
    assert set(classes["part"]) == {"test"}
    assert classes["images"].tolist() == np.bincount(data.test.labels).tolist()
    right = pairs[pairs["truth"] == pairs["prediction"]]["count"].sum()
    assert right / pairs["count"].sum() == pytest.approx(told["test_accuracy"])
    assert (tmp_path / "sheet.png").is_file() == (told["test_accuracy"] < 1)


def test_a_trial_that_is_to_tell_by_class_leaves_the_validation_part_alone(data, small, tmp_path):
    shared, recipe = settings(data, 0.1)
    evaluation = TrainingEvaluation(train_config=recipe, by_class=True, **{**shared, "epochs": 1})
    small = small.replace(resolution=8)
    told = evaluation(small, report=lambda *_: None, seed=0, checkpoint_dir=tmp_path)
    assert "test_accuracy" not in told
    pairs = pd.read_csv(tmp_path / "confusion.csv")
    right = pairs[pairs["truth"] == pairs["prediction"]]["count"].sum()
    assert right / len(data.validation) == pytest.approx(told["accuracy"])
    assert {path.name for path in tmp_path.iterdir()} == {"classes.csv", "confusion.csv"}


def test_a_member_begins_with_the_weights_of_the_baseline(data, small, tmp_path):
    shared, recipe = settings(data, 0.1)
    small = small.replace(resolution=8)
    weights = {}
    for name, width, rate, start in (
        ("baseline", 1.0, 0.1, None),
        ("member", 2.0, 1e-9, "baseline"),  # a rate that leaves the weights where they begin
    ):
        evaluation = TrainingEvaluation(
            train_config=recipe.replace(learning_rate=rate),
            final=True,
            start=(tmp_path / start / "weights.safetensors").read_bytes() if start else None,
            **{**shared, "epochs": 1},
        )
        (tmp_path / name).mkdir()
        evaluation(
            resize(small, width=width),
            report=lambda *_: None,
            seed=0,
            checkpoint_dir=tmp_path / name,
        )
        weights[name] = load_tensors(tmp_path / name / "weights.safetensors")
    first = next(name for name in weights["baseline"] if name.endswith("conv.weight"))
    ours, larger = weights["baseline"][first], weights["member"][first]
    assert larger.shape[0] == 2 * ours.shape[0]
    corner = larger[: ours.shape[0], : ours.shape[1]]
    torch.testing.assert_close(corner, ours, rtol=1e-4, atol=1e-6)
