"""Several targets on the command line: how they are given, and what is refused in one line."""

import sys

import pytest

from experiments.cli import main
from experiments.cli.configured import configured
from experiments.engine.budgets import with_target
from experiments.engine.limits import flops_at

SIZES = {"num_classes": 10, "in_channels": 1}


def given(**options):
    return configured(config="digits", **options).search


def test_a_target_given_more_than_once_is_one_of_several():
    several = given(target_flops=(2e6, 5e5))
    assert (several.budgets, several.target) == ((5e5, 2e6), 2e6)
    assert given(target_flops=(5e5,)).budgets == (5e5,)
    sized = given(cost="params", target=(5e4, 1e5))
    assert (sized.cost, sized.budgets) == ("params", (5e4, 1e5))
    assert given(target_flops=(), target=(), front=None).budgets == (1e6,)  # the config's own


def test_the_front_is_the_quartiles_of_the_space():
    section = given(front=True)
    chosen = with_target(section, **SIZES)
    low, middle, high = flops_at(section, 0.25, 0.5, 0.75, **SIZES)
    assert chosen.targets == (low, middle, high)
    assert chosen.target == high
    assert type(chosen).model_validate(chosen.model_dump()) == chosen


BAD = [
    (["--target-flops", "1e6", "--target-flops", "3e3"], "cannot reach the target of 3 kFLOPs"),
    (["--target-flops", "1e6", "--target-flops", "1e12"], "networks have 200 kFLOPs to 2 MFLOPs"),
    (["--target-flops", "1e6", "--target-flops", "1e6"], "rise, each once, but got (1e+06, 1e+06)"),
    (["--set", "search.targets=[5e5, 2e6]"], "name the main one of them, but got (target=1e+06"),
    (["--set", "search.targets=[]"], "are budgets that rise, each once, but got ()"),
    (["--cost", "latency", "--target", ".001", "--target", ".002"], "need a `latency_model`"),
    (["--front", "--target-flops", "1e6"], "--front chooses the targets; give none"),
    (
        ["--at", "budget", "--target-flops", "1e6", "--target-flops", "3e6"],
        "must lie within the limits, but got (target=3e+06",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_what_cannot_be_is_one_line_and_nothing_is_written(
    monkeypatch, capsys, tmp_path, options, message
):
    monkeypatch.chdir(tmp_path)
    words = ["scaler", "search", "--config", "digits", "--run", "run", *options]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as caught:
        main()
    last = capsys.readouterr().err.splitlines()[-1]
    assert caught.value.code == 2
    assert message in last
    assert list(tmp_path.iterdir()) == []
