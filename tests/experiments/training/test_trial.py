"""The built-in evaluation: what it keeps while it trains, and that it goes on from there."""

import pytest

from experiments.config.schema import DataConfig, TrainConfig
from experiments.training.training import Pace
from experiments.training.trial import STATE, TrainingEvaluation


class Killed(BaseException):
    """What a kill is to an evaluation: it comes at a report, and nothing after it runs."""


@pytest.fixture
def evaluation(data):
    def make(epochs=3):
        settings = TrainConfig(batch_size=16, learning_rate=0.05, device="cpu")
        return TrainingEvaluation(data, DataConfig(flip=True), settings, epochs)

    return make


def run(evaluation, architecture, folder, *, killed_at=None):
    """The curve that it reports, and what it returns."""
    curve = {}

    def report(epoch, accuracy, figures):
        curve[epoch] = (accuracy, figures["train_loss"])
        if epoch == killed_at:
            raise Killed

    folder.mkdir(exist_ok=True)
    try:
        returned = evaluation(architecture, report=report, seed=3, checkpoint_dir=folder)
    except Killed:
        returned = None
    return curve, returned


def test_a_killed_training_goes_on_to_the_same_end_bit_for_bit(evaluation, small, tmp_path):
    architecture = small.replace(resolution=8)
    whole, accuracy = run(evaluation(), architecture, tmp_path / "whole")
    first, _ = run(evaluation(), architecture, tmp_path / "killed", killed_at=2)
    assert (tmp_path / "killed" / STATE).is_file()
    rest, again = run(evaluation(), architecture, tmp_path / "killed")
    assert {**first, **rest} == whole
    assert 1 not in rest
    assert again == accuracy


def test_nothing_of_a_search_trial_is_left_at_its_end(evaluation, small, tmp_path):
    run(evaluation(epochs=2), small.replace(resolution=8), tmp_path / "done")
    assert list((tmp_path / "done").iterdir()) == []


def test_saving_takes_at_most_a_tenth_of_the_time():
    pace = Pace()
    assert pace.due(1.0)  # the first time nobody knows what it costs
    pace.saved(0.5)
    assert [pace.due(1.0) for _ in range(5)] == [False, False, False, False, True]
