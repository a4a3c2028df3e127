"""The reused actor: nothing leaks from trial to trial, and every end is told as it was."""

import math
import os

import pytest
from optuna.trial import TrialState

from experiments.config.schema import DataConfig, TrainConfig
from experiments.config.search_section import EarlyStopping


def training(epochs):
    """The built-in training on a few hundred digits; the network named `broken` fails half-way."""
    from experiments.data.sources import load_data
    from experiments.training.trial import TrainingEvaluation

    data_config = DataConfig(flip=True, crop_padding=1, train_limit=200, validation_limit=100)
    data = load_data(data_config, seed=0)
    evaluation = TrainingEvaluation(data, data_config, TrainConfig(batch_size=32), epochs)

    def evaluate(architecture, *, report, seed, checkpoint_dir):
        def failing(epoch, accuracy, figures):
            report(epoch, accuracy, figures)
            raise MemoryError("no room")

        wrapped = failing if architecture.name == "broken" else report
        return evaluation(architecture, report=wrapped, seed=seed, checkpoint_dir=checkpoint_dir)

    return evaluate


@pytest.fixture
def networks(small):
    wide = small.replace(name="other", resolution=8, head={"channels": 64})
    return {name: small.replace(name=name, resolution=8) for name in ("same", "broken")} | {
        "other": wide
    }


def test_a_trials_curve_is_bit_equal_whatever_ran_before_in_its_actor(train_list, networks):
    evaluate = training(epochs=2)
    alone = train_list(evaluate, networks["same"])["same"]
    after = train_list(evaluate, networks["other"], networks["broken"], networks["same"])
    assert after["broken"].state == TrialState.FAIL
    assert len(alone.user_attrs["curve"]) == 2
    assert [len(told) for told in alone.user_attrs["curves"].values()] == [2, 2]
    assert after["same"].user_attrs["curve"] == alone.user_attrs["curve"]
    assert after["other"].user_attrs["curve"] != alone.user_attrs["curve"]


def test_trials_share_one_process(train_list, small):
    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        return {"accuracy": 0.5, "pid": float(os.getpid())}

    trials = train_list(evaluate, *(small.replace(name=f"n{i}") for i in range(3)))
    assert len({trial.user_attrs["pid"] for trial in trials.values()}) == 1
    assert all(trial.value == 0.5 for trial in trials.values())


def test_a_failed_trial_is_recorded_with_its_reason_and_the_rest_goes_on(train_list, small):
    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        report(1, 0.25)
        if architecture.name == "raises":
            raise ValueError("bad luck\nmore lines")
        return math.nan if architecture.name == "nan" else 0.75

    names = ["raises", "nan", "fine"]
    trials = train_list(evaluate, *(small.replace(name=name) for name in names))
    assert {name: trials[name].state.name for name in names} == {
        "raises": "FAIL",
        "nan": "FAIL",
        "fine": "COMPLETE",
    }
    assert trials["raises"].user_attrs["reason"] == "ValueError: bad luck"
    assert trials["raises"].user_attrs["curve"] == [0.25]
    assert "is nan, which is not a number" in trials["nan"].user_attrs["reason"]
    assert trials["fine"].value == 0.75


def test_a_weak_trial_is_stopped_and_stored_as_pruned_with_its_epochs(train_list, small):
    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        level = float(architecture.name[1:]) / 10
        for epoch in range(1, 5):
            report(epoch, level * epoch / 4)
        return level

    members = [small.replace(name=f"n{level}") for level in (9, 8, 7, 1)]
    trials = train_list(
        evaluate, *members, epochs=4, early_stopping=EarlyStopping(kind="asha", factor=2)
    )
    assert trials["n9"].state == TrialState.COMPLETE
    assert trials["n1"].state == TrialState.PRUNED
    assert trials["n1"].intermediate_values == {1: pytest.approx(0.025)}
    assert trials["n1"].user_attrs["reason"] == "stopped after epoch 1 of 4"
    assert trials["n9"].user_attrs["curve"] == pytest.approx([0.225, 0.45, 0.675, 0.9])


@pytest.mark.slow
def test_a_worker_that_dies_is_recorded_and_the_rest_goes_on(train_list, small):
    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        if architecture.name == "dies":
            os._exit(1)
        return 0.75

    trials = train_list(evaluate, *(small.replace(name=name) for name in ("dies", "fine")))
    assert trials["dies"].state == TrialState.FAIL
    assert "lost" in trials["dies"].user_attrs["reason"]
    assert trials["fine"].value == 0.75


def test_a_figure_told_after_some_epochs_stays_with_its_epochs(train_list, small):
    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        report(1, 0.1)
        report(2, 0.2, {"loss": 5.0})
        return 0.2

    trial = train_list(evaluate, small)["small"]
    assert trial.user_attrs["curves"] == {"loss": [None, 5.0]}
