import pandas as pd
import pytest
from scipy import stats

from experiments import load_trials
from experiments.report.analysis import compare_runs
from search_spaces.records import InputError


def confirmed(run, accuracies):
    run.record("search", accuracy=0.9)
    for accuracy in accuracies:
        attributes = {"contender": "#0", "round": 1, "search_reward": 0.9}
        run.record("confirmation", accuracy=accuracy, attributes=attributes)
    return run.folder.path


def test_finished_trials_are_compared_by_ranks(tmp_path, make_sample):
    low, high = (make_sample(tmp_path / n, worth=w) for n, w in (("low", 0.0), ("high", 0.3)))
    row = compare_runs([low, high]).iloc[1]
    rewards = [
        trials.loc[trials["state"] == "complete", "reward"]
        for trials in (load_trials(low), load_trials(high))
    ]
    oracle = stats.mannwhitneyu(*rewards)
    assert row["p"] == pytest.approx(oracle.pvalue)
    assert row["superiority"] == pytest.approx(oracle.statistic / 20**2)
    assert "high is higher than low" in row["statement"]


def test_winners_are_compared_by_welchs_test_of_their_trainings(begin_run):
    one, other = [0.91, 0.92, 0.93, 0.94], [0.81, 0.83, 0.83, 0.85]
    row = compare_runs([confirmed(begin_run("a"), one), confirmed(begin_run("b"), other)]).iloc[0]
    assert row["p"] == pytest.approx(stats.ttest_ind(one, other, equal_var=False).pvalue)
    assert row["difference"] == pytest.approx(0.095)
    assert "a is higher than b by 0.0950 in the mean, beyond noise" in row["statement"]


def test_too_few_trainings_are_told_to_be_too_few(begin_run):
    a, b = confirmed(begin_run("a"), [0.91, 0.95]), confirmed(begin_run("b"), [0.88, 0.92])
    row = compare_runs([a, b]).iloc[0]
    assert row["p"] > 0.05
    assert "with so few trainings only a difference beyond 0.1217 would count" in row["statement"]


def test_of_trainings_that_agree_to_the_last_digit_nothing_is_said(begin_run):
    a, b = confirmed(begin_run("a"), [0.9, 0.9]), confirmed(begin_run("b"), [0.8, 0.8])
    assert "whether that is noise cannot be said" in compare_runs([a, b]).iloc[0]["statement"]


def test_of_single_trainings_nothing_is_said(begin_run):
    a, b = confirmed(begin_run("a"), [0.91]), confirmed(begin_run("b"), [0.81])
    row = compare_runs([a, b]).iloc[0]
    assert pd.isna(row["p"])
    assert row["statement"].startswith("Nothing can be said of the winner")


def test_unlike_objectives_are_not_compared(begin_run):
    a, b = begin_run("a"), begin_run("b")
    search = b.folder.config.search.replace(target=2e6)
    (b.folder.path / "config.yaml").write_text(b.folder.config.replace(search=search).to_yaml())
    paths = [confirmed(run, [0.9, 0.8]) for run in (a, b)]
    row = compare_runs(paths).iloc[0]
    assert pd.isna(row["p"])
    statement = "Not compared: the runs differ in target 1000000.0 against 2000000.0."
    assert row["statement"] == statement


def test_three_runs_make_three_pairs(begin_run):
    paths = [confirmed(begin_run(name), [0.9, 0.8]) for name in "abc"]
    table = compare_runs(paths)
    pairs = list(zip(table["first"], table["second"], strict=True))
    assert pairs == [("a", "b")] * 2 + [("a", "c")] * 2 + [("b", "c")] * 2


def test_one_run_is_no_comparison(begin_run):
    with pytest.raises(InputError, match="takes two runs or more, but got 1"):
        compare_runs(begin_run("a").folder.path)
