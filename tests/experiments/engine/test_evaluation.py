"""Whatever an own evaluation does, its trial ends, with a reason that everybody can read."""

import asyncio
import math

import numpy as np
import pytest

from experiments.engine.evaluation import Evaluation, Job


class Unprintable(Exception):  # noqa: N818
    def __str__(self):
        raise SystemExit("not even this")


@pytest.fixture
def results(small):
    """results(evaluate): what a worker would send of its trial, to the end."""

    def run(evaluate):
        def own(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
            return evaluate(report, checkpoint_dir)

        job = Job("x", small.model_dump_json(), seed=0, seconds_left=20)
        evaluation, told = Evaluation(own, job), []
        while not told or not told[-1].get("done", told[-1].get("hangs")):
            told.append(evaluation.next())
        assert evaluation.stop()
        assert not evaluation._folder.exists()
        return told

    return run


def raising(error):
    def evaluate(report, checkpoint_dir):  # noqa: ARG001
        raise error

    return evaluate


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (SystemExit(), "SystemExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "CancelledError"),
        (GeneratorExit("x"), "GeneratorExit: x"),
        (BaseException("own"), "BaseException: own"),
        (Unprintable(), "Unprintable: its message cannot be printed"),
        (ValueError("a\ud800b\x1b[2J"), "ValueError: a\\ud800b\\x1b[2J"),
        (ValueError("\nsecond"), "ValueError: "),
        (MemoryError("no room"), "out of memory: MemoryError: no room"),
    ],
)
def test_whatever_it_raises_is_its_failure_with_a_reason(results, error, reason):
    (end,) = results(raising(error))
    assert end["failure"] == reason
    assert end["failure"].isprintable()


WRONG = [95.3, -0.1, 1e308, math.inf, -math.inf, 10**400, math.nan, "0.5", b"1", None, [0.5], {}]


@pytest.mark.parametrize("accuracy", WRONG, ids=repr)
def test_one_rule_for_accuracies_that_are_returned_or_reported(results, accuracy):
    (returned,) = results(lambda report, folder: {"accuracy": accuracy})  # noqa: ARG005
    (reported,) = results(lambda report, folder: report(1, accuracy))  # noqa: ARG005
    assert returned["failure"].replace("epoch 0", "epoch 1") == reported["failure"]
    assert "[0, 1]" in returned["failure"] or "is not a number" in returned["failure"]


@pytest.mark.parametrize("accuracy", [0, 1, True, 0.5, np.float32(0.25), np.array(0.75), 1 + 1e-7])
def test_numbers_of_any_library_are_taken(results, accuracy):
    told, end = results(lambda report, folder: report(1, accuracy) or accuracy)  # noqa: ARG005
    assert told["accuracy"] == end["accuracy"] == min(float(accuracy), 1.0)
    assert type(end["accuracy"]) is float


@pytest.mark.parametrize("epoch", [2**70, -1, 1.5, math.nan, "1", None], ids=repr)
def test_an_epoch_that_is_none_fails_its_trial(results, epoch):
    (end,) = results(lambda report, folder: report(epoch, 0.5))  # noqa: ARG005
    assert "which is no whole number from 1 to 2,147,483,647" in end["failure"]


@pytest.mark.parametrize("figures", [{"\ud800": 1.0}, {"x" * 201: 1.0}, {3: 1.0}, {"loss": "low"}])
def test_a_figure_that_cannot_be_kept_fails_its_trial(results, figures):
    (reported,) = results(lambda report, folder: report(1, 0.5, figures))  # noqa: ARG005
    (returned,) = results(lambda report, folder: {"accuracy": 0.5, **figures})  # noqa: ARG005
    assert reported["failure"] == returned["failure"]
    assert "figure" in reported["failure"]
    assert reported["failure"].isprintable()


def test_what_has_no_accuracy_is_told(results):
    (end,) = results(lambda report, folder: {"dice": 0.5})  # noqa: ARG005
    assert end["failure"] == "ValueError: what the evaluation returned has no `accuracy`"
