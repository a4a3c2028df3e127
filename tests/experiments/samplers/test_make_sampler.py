import numpy as np
import optuna
import pytest

from experiments import make_sampler
from experiments.samplers import SAMPLERS, recommend
from search_spaces import InputError
from tests.objectives import TARGET, Conditional, Drawn, reward, search


def studied(name, objective, *, trials, seed=0, **options):
    sampler = make_sampler(name, cost=objective.cost, target=TARGET, seed=seed, **options)
    return search(objective, sampler, seed=seed, trials=trials)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_name_searches_a_conditional_space_with_plain_optuna(name):
    trials = 14 if name in ("gp", "cost_aware") else 35
    study = studied(name, Conditional(), trials=trials)
    assert len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) == trials
    assert len({tuple(t.params.items()) for t in study.trials}) > trials / 2


@pytest.mark.parametrize(
    ("name", "trials"),
    [("cost_aware", 12), ("nsga2", 35), ("regularized_evolution", 35), ("local_search", 35)],
)
def test_the_same_seed_gives_the_same_trials(name, trials):
    first, again = (studied(name, Conditional(), trials=trials, seed=3) for _ in range(2))
    other = studied(name, Conditional(), trials=trials, seed=4)
    assert [t.params for t in first.trials] == [t.params for t in again.trials]
    assert [t.params for t in first.trials] != [t.params for t in other.trials]


@pytest.mark.parametrize("path", ["optuna.samplers.RandomSampler", "optuna.samplers:RandomSampler"])
def test_any_optuna_sampler_comes_by_its_import_path_with_the_seed(path):
    def draw():
        study = optuna.create_study(sampler=make_sampler(path, seed=5))
        return study.ask().suggest_float("x", 0, 1)

    assert draw() == draw()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cost-aware", "unknown sampler 'cost-aware'; did you mean 'cost_aware'"),
        ("optuna.samplers.Nothing", "cannot import the sampler 'optuna.samplers.Nothing'"),
        ("nowhere:Sampler", "cannot import the sampler 'nowhere:Sampler'"),
        ("optuna.samplers:__name__", "is not an Optuna sampler"),
        ("optuna.samplers.GridSampler", "needs more than a seed"),
    ],
)
def test_a_wrong_name_says_what_would_be_accepted(name, message):
    with pytest.raises(InputError, match=message):
        make_sampler(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 1.0}, "cost is None"),
        ({"cost": len, "target": 0.0}, "target must be a positive number, but got 0"),
        ({"cost": len, "limits": (2.0, 1.0)}, "low <= high"),
    ],
)
def test_a_wrong_cost_is_refused_before_the_search(options, message):
    with pytest.raises(InputError, match=message):
        make_sampler("cost_aware", **options)


@pytest.mark.parametrize("name", ["cost_aware", "nsga2", "local_search", "regularized_evolution"])
def test_proposals_keep_to_the_limits_once_the_space_is_known(name):
    objective = Drawn(seed=0)
    trials, known = (25, 10) if name == "cost_aware" else (60, 35)
    study = studied(name, objective, trials=trials, limits=(60.0, 140.0))
    late = [objective.cost(t.params) for t in study.trials[known:]]
    assert all(60.0 <= cost <= 140.0 for cost in late)


def test_a_table_of_costs_does_what_the_function_does():
    objective = Drawn(seed=1, names=("layer0", "layer1", "layer2"))
    options = [(a, b, c) for a in (1, 2, 4, 8) for b in (1, 2, 4, 8) for c in (1, 2, 4, 8)]
    table = {o: objective.cost(dict(zip(objective.names, o, strict=True))) for o in options}
    by_function = studied("cost_aware", objective, trials=25)
    sampler = make_sampler("cost_aware", cost=table, target=TARGET, seed=0)
    by_table = search(objective, sampler, seed=0, trials=25)
    assert [t.params for t in by_table.trials] == [t.params for t in by_function.trials]


def test_grid_tries_every_setting_of_a_conditional_space_once_and_stops():
    def objective(trial):
        if trial.suggest_categorical("kind", ["a", "b"]) == "a":
            return trial.suggest_int("a.n", 1, 3)
        return trial.suggest_float("b.x", 0.0, 1.0, step=0.5)

    study = optuna.create_study(direction="maximize", sampler=make_sampler("grid"))
    study.optimize(objective, n_trials=100)
    tried = [tuple(t.params.values()) for t in study.trials[:6]]
    assert tried == [("a", 1), ("a", 2), ("a", 3), ("b", 0.0), ("b", 0.5), ("b", 1.0)]
    assert len(study.trials) <= 7


def test_grid_refuses_a_range_without_steps():
    study = optuna.create_study(sampler=make_sampler("grid"))
    with pytest.raises(InputError, match="'x' is continuous"):
        study.ask().suggest_float("x", 0, 1)


def test_regularized_evolution_changes_one_parameter_of_a_living_parent():
    study = studied("regularized_evolution", Drawn(seed=0), trials=60)
    for at in range(30, 60):
        child = study.trials[at].params.items()
        alive = study.trials[at - 20 : at]
        assert min(len(child - t.params.items()) for t in alive) == 1


def test_local_search_stays_beside_the_best_until_its_neighbours_are_tried():
    objective = Drawn(seed=0)
    study = studied("local_search", objective, trials=40)
    for at in range(6, 30):
        earlier = study.trials[:at]
        best = max(earlier, key=lambda t: t.value)
        near = [t for t in earlier if len(t.params.items() - best.params.items()) == 1]
        if len(near) < 6 * 3:
            assert len(study.trials[at].params.items() - best.params.items()) == 1


@pytest.mark.parametrize(
    "objectives",
    [[Drawn(seed=seed) for seed in range(4)], [Conditional()] * 2],
    ids=["drawn", "conditional"],
)
def test_the_cost_aware_search_beats_tpe_and_random_with_twice_the_trials(objectives):
    def reached(name, trials):
        total = 0.0
        for seed, objective in enumerate(objectives):
            study = studied(name, objective, trials=trials, seed=seed)
            best = recommend(study.trials, cost=objective.cost, target=TARGET)[0]
            total += reward(objective, best.params)
        return total

    ours = reached("cost_aware", 45)
    assert ours > reached("tpe", 45)
    assert ours > reached("random", 90)


def test_what_the_model_recommends_is_better_than_the_luckiest_trial():
    """Forty noisy searches: the mean gain in true reward is beyond two standard errors."""
    gains = []
    for seed in range(40):
        objective = Drawn(seed=seed % 3, names=("layer0", "layer1", "layer2"))
        random = optuna.samplers.RandomSampler(seed=seed)
        study = search(objective, random, seed=seed, trials=100, noise=0.1)
        best = recommend(study.trials, cost=objective.cost, target=TARGET)[0]
        gains.append(reward(objective, best.params) - reward(objective, study.best_params))
    assert np.mean(gains) > 2 * np.std(gains, ddof=1) / len(gains) ** 0.5
