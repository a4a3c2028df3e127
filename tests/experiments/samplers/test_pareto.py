import numpy as np

from experiments import make_sampler
from experiments.samplers.pareto import by_front
from tests.objectives import TARGET, Drawn, search


def test_fronts_come_in_order_and_their_ends_first():
    values = np.array([0.9, 0.8, 0.5, 0.79, 0.4])
    costs = np.array([9.0, 5.0, 1.0, 6.0, 2.0])
    order = by_front(values, costs)
    assert set(order[:2]) == {0, 2}
    assert order[2] == 1
    assert set(order[3:]) == {3, 4}


def hypervolume(name, *, seed, most_cost=216.0):
    objective = Drawn(seed=seed)
    sampler = make_sampler(name, cost=objective.cost, target=TARGET, seed=seed)
    trials = search(objective, sampler, seed=seed, trials=200).trials
    points = sorted((objective.cost(t.params), objective.accuracy(t.params)) for t in trials)
    following = [cost for cost, _ in points[1:]] + [most_cost]
    best = np.maximum.accumulate([accuracy for _, accuracy in points])
    return float(best @ (np.array(following) - [cost for cost, _ in points]))


def test_the_front_of_a_pareto_search_lies_beyond_that_of_random_networks():
    ours, random = (sum(hypervolume(n, seed=s) for s in range(3)) for n in ("nsga2", "random"))
    assert ours > random


def test_trials_of_a_pareto_search_can_be_stopped_early():
    import optuna

    objective = Drawn(seed=0)
    sampler = make_sampler("nsga2", cost=objective.cost, target=TARGET, seed=0)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)

    def evaluate(trial):
        accuracy = objective.accuracy(objective.suggest(trial))
        for epoch in range(1, 4):
            trial.report(accuracy * epoch / 3, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return accuracy

    study.optimize(evaluate, n_trials=60)
    states = [t.state.name for t in study.trials]
    assert 5 < states.count("PRUNED") < 55
