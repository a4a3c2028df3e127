import optuna
import pytest

from experiments import make_sampler
from experiments.studies.samplers import SAMPLERS
from search_spaces import InputError
from tests.objectives import TARGET, Conditional, Drawn, reward, search


def studied(name, objective, *, trials, seed=0, **options):
    sampler = make_sampler(name, cost=objective.cost, target=TARGET, seed=seed, **options)
    return search(objective, sampler, seed=seed, trials=trials)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_name_searches_a_conditional_space_with_plain_optuna(name):
    study = studied(name, Conditional(), trials=35)
    assert len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) == 35
    assert len({tuple(t.params.items()) for t in study.trials}) > 20


@pytest.mark.parametrize("name", ["cost_aware", "nsga2", "regularized_evolution", "local_search"])
def test_the_same_seed_gives_the_same_trials(name):
    first, again = (studied(name, Conditional(), trials=35, seed=3) for _ in range(2))
    other = studied(name, Conditional(), trials=35, seed=4)
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
    study = studied(name, objective, trials=60, limits=(60.0, 140.0))
    late = [objective.cost(t.params) for t in study.trials[35:]]
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


@pytest.mark.parametrize("objective", [Drawn(seed=0), Conditional()], ids=["drawn", "conditional"])
def test_the_cost_aware_search_beats_random_and_tpe(objective):
    def reached(name, trials):
        found = [studied(name, objective, trials=trials, seed=s).best_trial for s in range(2)]
        return sum(reward(objective, t.params) for t in found) / 2

    ours = reached("cost_aware", 40)
    assert ours > reached("tpe", 60)
    assert ours > reached("random", 160)
