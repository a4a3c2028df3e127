"""A width and a depth under a budget: accuracy is noisy, its cost is known before."""

import math
import random
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import optuna


def sampler_module() -> Any:
    """The package from OptunaHub; where it is not registered, the folder of this file."""
    try:
        return import_module("optunahub").load_module("samplers/cost_aware")
    except Exception:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        return import_module("cost_aware")


def cost(params: dict[str, Any]) -> float:
    """Multiply-adds, as many as the layers have."""
    return float(params["depth"] * params["width"] ** 2)


def objective(trial: optuna.Trial) -> float:
    """Accuracy after three epochs times the cost's factor; each epoch's accuracy is reported."""
    width = trial.suggest_categorical("width", [8, 16, 24, 32, 48, 64])
    depth = trial.suggest_int("depth", 1, 8)
    factor = (cost(trial.params) / 8192) ** -0.07
    accuracy = 0.0
    for epoch in range(1, 4):
        size = math.log(width) + 0.6 * math.log(depth)
        accuracy = (1 - math.exp(-0.5 * size)) * (1 - 0.5**epoch) + random.gauss(0, 0.003)
        trial.report(accuracy * factor, epoch)
    return accuracy * factor


if __name__ == "__main__":
    random.seed(0)
    sampler = sampler_module().CostAwareSampler(cost, target=8192, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=20)
    print(study.best_trial.params, study.best_trial.value)
