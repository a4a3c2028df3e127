"""The recipes of docs/analysis.md run, and find what the runs were made to hold."""

import re
from pathlib import Path

import pytest

from tests.experiments.report.conftest import sample

PAGE = Path(__file__).parents[1] / "docs" / "analysis.md"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the page's code leaves behind; stage 1's kernel of 5 was made worth 0.1."""
    folder = tmp_path_factory.mktemp("analysis")
    for name, seed in (("digits", 0), ("other", 1)):
        sample(folder / "runs" / name, trials=60, seed=seed)
    told = folder / "runs" / "digits" / "checkpoints" / "digits_b0" / "classes.csv"
    told.parent.mkdir(parents=True)
    told.write_text("class,images,predicted,precision,recall,f1\n0,9,8,1,0.9,0.94\n1,9,9,1,1,1\n")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_the_best_under_a_budget_is_within_it(found):
    assert found["best"]["flops"].item() <= 50e6
    assert found["best"]["accuracy"].item() == found["cheap"]["accuracy"].max()


def test_the_kernel_that_was_made_to_matter_is_found(found):
    effect = found["bought"]["effect"].unstack()
    gaps = (effect["5"] - effect["3"]).abs()
    assert gaps.idxmax() == found["side_by_side"]["accuracy"].idxmax()
    assert gaps.max() == pytest.approx(0.1, abs=0.01)


def test_costs_shares_and_regret_are_of_the_run(found):
    assert found["costs"]["seconds"].sum() == 120
    assert found["lost"] == 0
    assert found["regret"]["regret"].iloc[-1] == 0
    assert found["by_epoch"].shape == (3, 60)
    assert found["score"]["r2"].item() > 0.9


def test_two_runs_of_one_kind_differ_by_no_more_than_noise(found):
    assert found["verdicts"]["p"].iloc[1] > 0.05


def test_every_column_of_the_frame_stands_in_the_pages_table(found):
    table = PAGE.read_text()
    fixed = [name for name in found["trials"] if not name.startswith(("stages.", "training."))]
    told = set(re.findall(r"`([a-z_.]+)`", table))
    assert set(fixed) - told <= {"cost"}
