import math

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from scipy.optimize import check_grad
from scipy.stats import norm

from experiments.samplers import gaussian_process, make_sampler, recommend
from experiments.samplers.accuracy_model import AccuracyModel
from experiments.samplers.encoding import Encoding
from experiments.samplers.gaussian_process import GaussianProcess
from experiments.samplers.known_cost import KnownCost
from experiments.samplers.observations import Observations
from experiments.samplers.parameters import ParameterConditions
from experiments.samplers.recommend import exact, model_of_better_half
from experiments.samplers.told import THROWN_BACK
from tests.objectives import TARGET, Conditional, Drawn, search

SPACE = {
    "kernel": CategoricalDistribution((3, 5, 7)),
    "kind": CategoricalDistribution(("a", "b", "c")),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
}


def distance(left, right):
    encoding = Encoding.of(SPACE, KnownCost())
    return float(np.square(np.subtract(encoding.encode(left), encoding.encode(right))).sum())


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ({"kernel": 3}, {"kernel": 7}, 1.0),
        ({"kernel": 3}, {"kernel": 5}, 0.75),
        ({"kind": "a"}, {"kind": "c"}, 1.0),
        ({"rate": 1e-4}, {"rate": 1e-1}, 1.0),
        ({"rate": 1e-4}, {"rate": math.sqrt(1e-4 * 1e-1)}, 0.5),
        ({}, {}, 0.0),
    ],
)
def test_distances_respect_order_and_end_at_one(left, right, expected):
    assert distance(left, right) == pytest.approx(expected)


def test_an_inactive_parameter_is_unlike_all_its_values():
    assert distance({"kind": "a"}, {}) == pytest.approx(1.0)
    assert all(distance({"kernel": k}, {}) > 0.5 for k in (3, 5, 7))


def test_the_gradient_of_the_fit_is_that_of_its_loss():
    rng = np.random.default_rng(0)
    columns, groups = rng.random((20, 5)), np.array([0, 0, 1, 1, 2])
    rest = (columns, rng.standard_normal(20), rng.random(20), rng.random(20), groups, np.zeros(6))
    error = check_grad(
        lambda theta: gaussian_process._loss(theta, *rest)[0],
        lambda theta: gaussian_process._loss(theta, *rest)[1],
        rng.standard_normal(6) * 0.5,
    )
    assert error < 1e-4


def test_one_lucky_observation_does_not_carry_the_process_away():
    rng = np.random.default_rng(0)
    columns, groups = rng.integers(2, size=(40, 5)) * math.sqrt(0.5), np.arange(5)
    y = columns @ [1.0, 0.8, -0.6, 0.4, 0.2] + rng.normal(0, 0.02, 40)
    y[0] += 0.6
    others = np.square(columns - columns[0]).sum(axis=1) > 0.4
    process = GaussianProcess.fit(columns, y, groups=groups)
    alone = GaussianProcess.fit(columns[others], y[others], groups=groups)
    lucky, true = (p.predict(columns[:1])[0][0] for p in (process, alone))
    assert lucky - true < 0.1


def test_the_process_agrees_with_the_textbook_formula(monkeypatch):
    monkeypatch.setattr(gaussian_process, "ROUNDS", 0)  # its noise is normal then
    rng = np.random.default_rng(1)
    columns, groups = rng.integers(2, size=(8, 3)) * math.sqrt(0.5), np.array([0, 1, 2])
    y, new = rng.standard_normal(8), rng.integers(2, size=(4, 3)) * math.sqrt(0.5)
    process = GaussianProcess.fit(columns, y, groups=groups, steps=0)
    a, s, noise = np.exp(process.theta[:3])
    w = np.exp(process.theta[3:])

    def k(f, g):
        d = ((f - g) ** 2 * w).sum()
        return 1 + a * (1 - d / w.sum()) + s * math.exp(-d)

    gram = np.array([[k(f, g) for g in columns] for f in columns]) + (noise + 1e-6) * np.eye(8)
    cross = np.array([[k(f, g) for g in columns] for f in new])
    mean = y.mean() + cross @ np.linalg.solve(gram, y - y.mean())
    variance = [k(f, f) - c @ np.linalg.solve(gram, c) for f, c in zip(new, cross, strict=True)]
    found, deviation = process.predict(new)
    assert found == pytest.approx(mean)
    assert deviation == pytest.approx(y.std() * np.sqrt(variance))


def test_a_running_network_lowers_the_uncertainty_of_its_neighbours_not_their_mean():
    from experiments.samplers.accuracy_model import AccuracyModel

    objective = Drawn(seed=0)
    study = search(objective, optuna.samplers.RandomSampler(seed=0), seed=0, trials=30)
    observed = Observations.of(study.trials, KnownCost())
    encoding = Encoding.of(study.trials[0].distributions, KnownCost())
    near = dict.fromkeys(objective.names, 8)
    alone = AccuracyModel.fit(observed, encoding)
    beside = AccuracyModel.fit(observed, encoding, running=[{**near, "layer0": 4}])
    (mean, before), (same, after) = (
        (m.process.predict(np.array([encoding.encode(near)]))) for m in (alone, beside)
    )
    assert same == pytest.approx(mean, rel=1e-3)
    assert after[0] < 0.9 * before[0]


def test_conditions_are_learnt_from_trials():
    study = search(Conditional(), optuna.samplers.RandomSampler(seed=0), seed=0, trials=60)
    distributions = {n: d for t in study.trials for n, d in t.distributions.items()}
    conditions = ParameterConditions.learn([t.params for t in study.trials], distributions)
    rng = np.random.default_rng(0)
    for _ in range(100):
        drawn = conditions.complete({}, rng)
        trial = optuna.trial.FixedTrial(drawn)
        assert Conditional().suggest(trial) == drawn


def trial(accuracy, *, epochs=(), state=TrialState.COMPLETE, kind="a"):
    return create_trial(
        state=state,
        value=None if state == TrialState.FAIL else accuracy,
        params={"kind": kind},
        distributions={"kind": SPACE["kind"]},
        intermediate_values=dict(enumerate(epochs, start=1)),
    )


def test_a_stopped_trial_counts_as_what_it_would_have_reached_with_less_certainty():
    finals = [0.6, 0.7, 0.75, 0.8, 0.85, 0.9]
    done = [trial(f, epochs=(f - 0.3 + 0.01 * (i % 2), f)) for i, f in enumerate(finals)]
    stopped = trial(0.4, epochs=(0.4,), state=TrialState.PRUNED)
    observed = Observations.of([*done, stopped], KnownCost())
    guess = 1 / (1 + math.exp(-observed.values[-1]))
    assert guess == pytest.approx(0.7, abs=0.04)
    assert observed.extra_noise[-1] > 0
    assert (observed.extra_noise[:-1] == 0).all()


def test_failed_and_infinite_trials_say_nothing():
    trials = [trial(0.5), trial(0.5, state=TrialState.FAIL), trial(math.inf)]
    assert len(Observations.of(trials, KnownCost()).values) == 1


def test_the_known_factor_is_taken_out_of_the_reward():
    cost = KnownCost(lambda params: 4.0 if params["kind"] == "a" else 1.0, target=2.0, exponent=-1)
    observed = Observations.of([trial(0.4), trial(1.2, kind="b")], cost)
    assert 1 / (1 + np.exp(-observed.values)) == pytest.approx([0.8, 0.6])


def test_workers_at_the_same_time_are_sent_to_different_networks():
    objective = Drawn(seed=0)
    sampler = make_sampler("cost_aware", cost=objective.cost, target=TARGET, seed=0)
    study = search(objective, sampler, seed=0, trials=12)
    asked = [objective.suggest(study.ask()) for _ in range(6)]
    assert len({tuple(params.values()) for params in asked}) == 6


def test_equal_networks_are_proposed_once_and_learnt_as_one():
    def network(params):  # the order of the layers does not matter
        counts = [list(params.values()).count(level) for level in objective.levels]
        return {f"of {level}": n for level, n in zip(objective.levels, counts, strict=True)}

    objective = Drawn(seed=0, names=("layer0", "layer1", "layer2"))
    sampler = make_sampler("cost_aware", network=network, seed=0)
    study = search(objective, sampler, seed=0, trials=18)
    made = [tuple(network(trial.params).values()) for trial in study.trials[5:]]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("luck", [0.0, 0.001])
def test_where_repeated_networks_show_the_same_the_best_observed_is_recommended(luck):
    choice = CategoricalDistribution((0, 1, 2))
    trials = [
        create_trial(
            value=0.8 + 0.02 * a + 0.02 * b + 0.05 * (a == 0 and b == 0) + again * luck,
            params={"a": a, "b": b},
            distributions={"a": choice, "b": choice},
        )
        for a in range(3)
        for b in range(3)
        for again in range(1 + (a == b))
    ]
    observed = sorted((t.value for t in trials), reverse=True)
    recommended = [t.value for t in recommend(trials)]
    assert exact(trials, KnownCost()) is (luck == 0)
    assert (recommended == observed) is (luck == 0)


def test_a_network_that_failed_alone_among_good_ones_is_not_recommended():
    rng = np.random.default_rng(0)
    codes = [code for code in np.ndindex(*(2,) * 6) if rng.random() < 0.6 or all(code)]
    accuracies = {c: 0.6 + 0.05 * sum(c) + rng.normal(0, 0.002) for c in codes}
    accuracies[(1,) * 6] = 0.7  # the sum of its parts would be 0.9
    choice = CategoricalDistribution((0, 1))
    trials = [
        create_trial(
            value=float(accuracies[code]),
            params={f"layer{i}": level for i, level in enumerate(code)},
            distributions={f"layer{i}": choice for i in range(6)},
        )
        for code in codes
    ]
    assert recommend(trials)[0].value > 0.8


def test_an_observation_is_foretold_from_all_others():
    rng = np.random.default_rng(0)
    columns, targets = rng.random((12, 3)), rng.normal(0, 1, 12)
    groups = np.arange(3)
    process = GaussianProcess.fit(columns, targets, groups=groups, steps=0, believe_low=True)
    covariance = process.root @ process.root.T
    y = (targets - process.shift) / process.scale
    others = np.arange(12) != 4
    kept = covariance[np.ix_(others, others)]
    beside = covariance[4, others]
    mean = beside @ np.linalg.solve(kept, y[others])
    variance = covariance[4, 4] - beside @ np.linalg.solve(kept, beside)
    expected = norm.logpdf(y[4], mean, np.sqrt(variance)) - np.log(process.scale)
    assert process.left_out()[4] == pytest.approx(expected)


@pytest.mark.parametrize(("spread", "own"), [(1.5, True), (0.0, False)])
def test_the_better_half_has_its_own_model_where_bad_networks_differ_by_more(spread, own):
    rng = np.random.default_rng(1)
    choice = CategoricalDistribution((0, 1))
    trials = []
    for code in np.ndindex(*(2,) * 7):
        logit = 2 + 0.1 * sum(code[1:]) + rng.normal(0, 0.05)
        logit -= (1 - code[0]) * (0.5 + spread * abs(rng.normal()))
        trials.append(
            create_trial(
                value=1 / (1 + math.exp(-logit)),
                params={f"layer{i}": level for i, level in enumerate(code)},
                distributions={f"layer{i}": choice for i in range(7)},
            )
        )
    observed = Observations.of(trials, KnownCost())
    encoding = Encoding.of(trials[0].distributions, KnownCost())
    whole = AccuracyModel.fit(observed, encoding, believe_low=True)
    assert (model_of_better_half(whole, observed, encoding) is not None) is own


@pytest.mark.parametrize("seed", range(3))
def test_a_kind_that_the_limits_seldom_let_in_is_tried_soon(seed):
    """One in twenty of the dear kind is allowed: of random trials one in twenty-one has it."""

    def cost(params):
        return params.get("cheap.size", 0) + 20 * params.get("dear.size", 0)

    sampler = make_sampler("cost_aware", seed=seed, cost=cost, target=10.0, limits=(1, 20))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    kinds = []
    while len(kinds) < 8:
        trial = study.ask()
        kind = trial.suggest_categorical("kind", ["cheap", "dear"])
        trial.suggest_int(f"{kind}.size", 1, 20)
        if cost(trial.params) > 20:
            trial.set_user_attr(THROWN_BACK, True)
            study.tell(trial, state=TrialState.FAIL)
        else:
            kinds.append(kind)
            study.tell(trial, 0.5)
    assert "dear" in kinds
