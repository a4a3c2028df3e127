"""Trials whose truth is known: by hand, or made so that one choice alone matters."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments import load_curves, load_trials
from experiments.report.analysis import (
    at_common_epoch,
    marginal_effects,
    outcome_costs,
    parameter_importance,
    search_regret,
    searched_choices,
    seed_noise,
    surrogate_fit,
    surrogate_score,
)
from experiments.report.analysis.choices import columns_of
from search_spaces.records import InputError

WORTH = "stages.1.block.kernel_size"


@pytest.fixture(scope="module")
def alike(sampled):
    trials = load_trials(sampled.path)
    return at_common_epoch(trials, load_curves(sampled.path), epoch=1)


def test_the_common_epoch_is_the_latest_that_half_of_the_trials_reached(sampled):
    trials, curves = load_trials(sampled.path), load_curves(sampled.path)
    assert set(at_common_epoch(trials, curves)["epochs"]) == {3}  # 40 of 60 got there
    stopped = trials["state"] == "pruned"
    few = trials[stopped | (trials["number"] < 20)]
    kept = curves[curves["number"].isin(few["number"])]
    assert set(at_common_epoch(few, kept)["epochs"]) == {1}


def test_accuracy_and_reward_are_of_that_epoch(sampled, alike):
    trials = load_trials(sampled.path)
    finished = trials["state"] == "complete"
    assert len(alike) == 60
    halves = alike["accuracy"].to_numpy()[finished]
    assert halves == pytest.approx(trials["accuracy"].to_numpy()[finished] / 2)
    rewards = alike["reward"].to_numpy()[finished]
    assert rewards == pytest.approx(trials["reward"].to_numpy()[finished] / 2)


def test_only_what_differs_is_a_choice(alike):
    choices = searched_choices(alike)
    assert WORTH in choices
    assert "stages.0.stride" not in choices
    assert "accuracy" not in choices


def test_a_marginal_effect_is_the_mean_with_students_interval(alike):
    effects = marginal_effects(alike, of="accuracy", choices=[WORTH])
    assert effects["value"].tolist() == ["3", "5"]
    five = alike.loc[alike[WORTH] == 5, "accuracy"]
    row = effects.iloc[1]
    low, high = stats.t.interval(0.95, len(five) - 1, five.mean(), stats.sem(five))
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((five.mean(), low, high))
    assert row["effect"] == pytest.approx(five.mean() - alike["accuracy"].mean())
    gap = effects["mean"].diff()[1]
    assert gap == pytest.approx(0.05, abs=0.002)  # half of 0.1, after one epoch
    assert row["p"] < 1e-6


@pytest.mark.parametrize("evaluator", ["fanova", "mean_decrease_impurity", "ped_anova"])
def test_the_parameter_that_alone_matters_is_the_most_important(sampled, evaluator):
    found = parameter_importance(sampled.path, of="accuracy", evaluator=evaluator)
    assert found.iloc[0]["parameter"] == WORTH
    assert found["importance"].sum() == pytest.approx(1)
    assert found.iloc[0]["importance"] > 0.3  # of 17 parameters
    assert set(found["trials"]) == {40}


def test_an_unknown_evaluator_is_told_with_the_known_ones(sampled):
    with pytest.raises(InputError, match="did you mean 'fanova'"):
        parameter_importance(sampled.path, evaluator="fanov")


def test_of_too_few_trials_there_is_no_importance(searched):
    assert parameter_importance(searched.folder.path).empty


def test_costs_by_outcome_add_up_and_count_what_was_on_a_gpu(sampled):
    costs = outcome_costs(load_trials(sampled.path), gpus_per_trial=0.5)
    by_state = costs.set_index("state")
    assert by_state["trials"].to_dict() == {"complete": 40, "pruned": 20}
    assert by_state["seconds"].to_dict() == {"complete": 80.0, "pruned": 40.0}
    assert by_state["gpu_seconds"].to_dict() == {"complete": 40.0, "pruned": 20.0}
    assert costs["share"].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_time_on_a_processor_is_no_gpu_time(done):
    assert outcome_costs(load_trials(done.folder.path))["gpu_seconds"].sum() == 0


def test_noise_is_the_spread_over_seeds_pooled_by_degrees_of_freedom(repeated):
    noise = seed_noise(load_trials(repeated.folder.path))
    confirmed = noise[noise["study"] == "confirmation"]
    spreads = confirmed["spread"].tolist()
    assert spreads[0] == pytest.approx(np.std([0.80, 0.82], ddof=1))
    variances = [np.var(v, ddof=1) for v in ([0.80, 0.82], [0.85, 0.93])]
    four = np.var([0.85, 0.85, 0.90, 0.92], ddof=1)
    assert confirmed["seeds"].tolist() == [2, 4, 2]
    pooled = np.sqrt((variances[0] + 3 * four + variances[1]) / 5)
    assert confirmed["pooled"].tolist() == pytest.approx([pooled] * 3)


def test_regret_falls_to_nothing_and_time_runs_from_the_first_start(run):
    for channels, accuracy in ((32, 0.7), (40, 0.9), (48, 0.8)):
        run.record("search", accuracy=accuracy, channels=channels, seconds=3.0)
    trials = load_trials(run.folder.path)
    regret = search_regret(trials)
    assert regret["best"].tolist() == [0.7, 0.9, 0.9]
    assert regret["regret"].tolist() == pytest.approx([0.2, 0, 0])
    assert regret["elapsed"][0] == pd.Timedelta(seconds=3)
    assert search_regret(trials, best=1.0)["regret"].tolist() == pytest.approx([0.3, 0.1, 0.1])


def test_the_surrogate_foretells_what_is_a_function_of_the_choices(sampled):
    fit = surrogate_fit(sampled.path)
    trials = load_trials(sampled.path)
    finished = trials[trials["state"] == "complete"]
    assert fit["number"].tolist() == finished["number"].tolist()
    assert fit["reward"].tolist() == pytest.approx(finished["reward"].tolist())
    score = surrogate_score(fit).iloc[0]
    assert score["trials"] == 40
    assert score["r2"] > 0.9


def test_a_score_is_r_squared_by_hand():
    fit = pd.DataFrame({"run": "a", "reward": [1.0, 2.0, 3.0], "predicted": [1.0, 2.0, 4.0]})
    score = surrogate_score(fit).iloc[0]
    assert (score["r2"], score["spearman"]) == pytest.approx((0.5, 1.0))
    assert score["rmse"] == pytest.approx((1 / 3) ** 0.5)


def test_of_too_few_finished_trials_there_is_no_fit(searched):
    assert surrogate_fit(searched.folder.path).empty


def test_a_parameter_below_a_choice_of_kinds_is_found_in_its_column():
    columns = ["stages.0.block.kernel_size", "head.kind", "head.channels", "head.predictor.kind"]
    parameters = [
        "stages.0.block.mbconv.kernel_size",
        "head",
        *("head.fpn.channels", "head.bifpn.channels", "head.fpn.predictor", "head.fpn.levels"),
    ]
    assert columns_of(parameters, columns) == columns
