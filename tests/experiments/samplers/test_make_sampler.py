import copy
import itertools
import pickle
import threading

import numpy as np
import optuna
import pytest

from experiments import make_sampler, recommend
from experiments.samplers import SAMPLERS
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


def _conditional(trial):
    if trial.suggest_categorical("kind", ["a", "b"]) == "a":
        return trial.suggest_int("n", 1, 3)
    return trial.suggest_float("x", 0.0, 0.3, step=0.1)


def test_grid_tries_every_setting_of_a_conditional_space_once_and_stops():
    study = optuna.create_study(direction="maximize", sampler=make_sampler("grid"))
    study.optimize(_conditional, n_trials=100)
    tried = [tuple(t.params.values()) for t in study.trials]
    steps = [("b", pytest.approx(x)) for x in (0.0, 0.1, 0.2, 0.3)]
    assert tried == [("a", 1), ("a", 2), ("a", 3), *steps]


@pytest.mark.parametrize(
    "enqueued",
    [[{"kind": "b", "x": 0.3}], [{"kind": "b"}], [{"kind": "a", "n": 2}, {"kind": "b", "x": 0.1}]],
)
def test_grid_tries_every_other_setting_once_after_those_that_were_enqueued(enqueued):
    study = optuna.create_study(sampler=make_sampler("grid"))
    for params in enqueued:
        study.enqueue_trial(params)
    study.optimize(_conditional, n_trials=100)
    tried = {
        (t.params["kind"], t.params.get("n"), round(t.params.get("x", 0), 3)) for t in study.trials
    }
    assert len(tried) == len(study.trials) == 7


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_at_the_same_time_share_a_grid_between_them(workers):
    """In each round all workers ask for one parameter before any asks for the next."""
    barrier = threading.Barrier(workers, timeout=60)

    def objective(trial):
        x, _, y = trial.suggest_int("x", 0, 2), barrier.wait(), trial.suggest_int("y", 0, 3)
        barrier.wait()
        return x + y

    study = optuna.create_study(sampler=make_sampler("grid"))
    study.optimize(objective, n_trials=12, n_jobs=workers)
    tried = {tuple(t.params.values()) for t in study.trials}
    assert tried == set(itertools.product(range(3), range(4)))


def test_grid_tries_again_what_a_worker_that_died_had_begun():
    study = optuna.create_study(sampler=make_sampler("grid"))
    dead = study.ask()
    dead.suggest_categorical("kind", ["a", "b"])
    study.optimize(_conditional, n_trials=100)
    done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    assert len({tuple(t.params.values()) for t in done}) == len(done) == 7


def test_grid_refuses_a_range_without_steps():
    study = optuna.create_study(sampler=make_sampler("grid"))
    with pytest.raises(InputError, match="'x' is continuous"):
        study.ask().suggest_float("x", 0, 1)


def _conditional_cost(params):  # a lambda cannot be pickled
    return Conditional().cost(params)


def _broken(params):
    return len(params) / 0


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_of_a_sampler_goes_on_as_the_sampler_does(name, copied):
    objective = Conditional() if name != "grid" else Drawn(seed=0)
    trials = 8 if name in ("cost_aware", "gp") else 32
    cost = None if name == "grid" else _conditional_cost
    study = optuna.create_study(direction="maximize", sampler=make_sampler(name, cost=cost, seed=0))
    evaluate = lambda trial: objective.accuracy(objective.suggest(trial))  # noqa: E731
    study.optimize(evaluate, n_trials=trials)
    other = optuna.create_study(direction="maximize", sampler=copied(study.sampler))
    other.add_trials(study.trials)
    for each in (study, other):
        each.optimize(evaluate, n_trials=3)
    assert [t.params for t in other.trials] == [t.params for t in study.trials]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["cost_aware", "grid", "local_search", "nsga2"])
def test_several_objectives_are_refused_and_no_trial_is_left_running(name, workers):
    study = optuna.create_study(directions=["minimize"] * 2, sampler=make_sampler(name))
    with pytest.raises(ValueError, match="for studies of one objective, but got 2"):
        study.optimize(lambda _: (0.0, 0.0), n_trials=6, n_jobs=workers)
    assert {trial.state.name for trial in study.trials} == {"FAIL"}


def test_an_error_in_the_cost_leaves_no_trial_running():
    study = optuna.create_study(sampler=make_sampler("regularized_evolution", cost=_broken))
    with pytest.raises(ZeroDivisionError):
        study.optimize(lambda trial: trial.suggest_int("x", 0, 999), n_trials=30)
    assert study.trials[-1].state.name == "FAIL"


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
