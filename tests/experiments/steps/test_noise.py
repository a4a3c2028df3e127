"""Mean, spread, rank, and whether a difference is more than noise."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.steps.noise import Repeat, Standing, difference, standings, verdict


def test_mean_and_spread_worked_out_by_hand():
    standing = Standing("#1", 1, (0.90, 0.92, 0.97))
    assert standing.mean == pytest.approx(0.93)
    assert standing.spread == pytest.approx(math.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2))
    assert standing.describe() == "0.9300 ± 0.0361 (n = 3)"


def test_the_test_is_welchs_worked_out_by_hand():
    first, second = (0.90, 0.92, 0.97), (0.80, 0.81)
    parts = np.array([13e-4 / 3, 0.5e-4 / 2])  # variances over n
    freedom = parts.sum() ** 2 / (parts**2 / [2, 1]).sum()
    t = 0.125 / math.sqrt(parts.sum())
    found = difference(first, second)
    assert found.value == pytest.approx(0.125)
    assert found.p == pytest.approx(2 * stats.t.sf(t, freedom))
    assert found.margin == pytest.approx(stats.t.ppf(0.975, freedom) * math.sqrt(parts.sum()))
    assert found.beyond_noise


@pytest.mark.parametrize("values", [((0.9,), (0.8, 0.7)), ((0.9, 0.9), (0.8, 0.8))])
def test_of_one_training_or_of_equal_repeats_nothing_is_said(values):
    found = difference(*values)
    assert math.isnan(found.p)
    assert not found.beyond_noise
    ranked = [Standing("#1", 1, values[0]), Standing("#2", 1, values[1])]
    assert "cannot be said" in verdict(ranked, of="reward")


def test_equal_contenders_differ_beyond_noise_in_no_more_than_a_twentieth_of_all_searches():
    draw = np.random.default_rng(0).normal
    alarms = 0
    for _ in range(1000):
        drawn = [Repeat(str(i), 1, value) for i in range(4) for value in draw(0.9, 0.01, 3)]
        first, second = standings(drawn)[:2]
        alarms += difference(first.values, second.values).beyond_noise
    assert alarms / 1000 <= 0.05


def test_contenders_rank_by_round_then_by_finished_trainings_then_by_mean():
    trainings = [
        *(Repeat("out", 1, value) for value in (0.99, 0.99)),
        *(Repeat("winner", 1, value) for value in (0.80, 0.82)),
        *(Repeat("winner", 2, value) for value in (0.90, 0.92)),
        *(Repeat("second", 2, value) for value in (0.90, 0.91)),
        Repeat("lost one", 2, 0.99),
    ]
    ranked = standings(trainings)
    assert [one.contender for one in ranked] == ["winner", "second", "lost one", "out"]
    assert ranked[0].values == (0.90, 0.92)


def test_the_verdict_says_what_it_would_have_taken():
    close = [Standing("#7", 1, (0.90, 0.92)), Standing("#3", 1, (0.89, 0.90))]
    text = verdict(close, of="reward")
    assert text.startswith("#7 is first with a mean reward of 0.9100 ± 0.0141 (n = 2), then #3")
    assert "The difference of 0.0150 is within noise (Welch's t-test, p = " in text
    margin = difference(close[0].values, close[1].values).margin
    assert f"only one beyond {margin:.4f} would have stood out" in text
    clear = [Standing("#7", 1, (0.90, 0.92)), Standing("#3", 1, (0.1, 0.11))]
    assert "They differ beyond noise" in verdict(clear, of="reward")


def test_rounds_of_other_lengths_are_not_compared():
    text = verdict([Standing("#7", 2, (0.9, 0.92)), Standing("#3", 1, (0.1, 0.11))], of="reward")
    assert text.endswith("trained in an earlier round only: the two are not compared.")
