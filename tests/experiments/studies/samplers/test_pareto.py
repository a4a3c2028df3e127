import numpy as np

from experiments import make_sampler
from experiments.studies.samplers.pareto import ranking
from tests.objectives import TARGET, Drawn, search


def test_fronts_come_in_order_and_their_ends_first():
    values = np.array([0.9, 0.8, 0.5, 0.79, 0.4])
    costs = np.array([9.0, 5.0, 1.0, 6.0, 2.0])
    order = ranking(values, costs)
    assert set(order[:2]) == {0, 2}
    assert order[2] == 1
    assert set(order[3:]) == {3, 4}


def test_the_front_holds_cheap_and_accurate_networks_not_the_best_reward_alone():
    objective = Drawn(seed=2)
    hypervolumes = []
    for name in ("nsga2", "random"):
        sampler = make_sampler(name, cost=objective.cost, target=TARGET, seed=0)
        study = search(objective, sampler, seed=0, trials=150)
        points = sorted(
            (objective.cost(t.params), objective.accuracy(t.params)) for t in study.trials
        )
        best, area = 0.0, 0.0
        for (cost, accuracy), (following, _) in zip(points, [*points[1:], (216.0, 0)], strict=True):
            best = max(best, accuracy)
            area += best * (following - cost)
        hypervolumes.append(area)
    assert hypervolumes[0] > hypervolumes[1]


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
