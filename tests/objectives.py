"""Two objectives that no sampler was made for, with noise and a known cost."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

TARGET = 100.0
KINDS = {"conv": {"kernel": (3, 5, 7)}, "mbconv": {"expand": (1, 3, 6), "se": (True, False)}}


@dataclass(frozen=True)
class Drawn:
    """Effects of single choices and of pairs, drawn by a seed: logit accuracy is their sum."""

    seed: int
    names: tuple[str, ...] = tuple(f"layer{i}" for i in range(6))
    levels: tuple[int, ...] = (1, 2, 4, 8)

    def suggest(self, trial):
        return {name: trial.suggest_categorical(name, self.levels) for name in self.names}

    def cost(self, params):
        return float(sum((i + 2) * params[name] for i, name in enumerate(self.names)))

    def accuracy(self, params):
        rng = np.random.default_rng(self.seed)
        shape = (len(self.names), len(self.levels))
        single = rng.normal(0, 0.3, shape) + 0.25 * np.log2(self.levels)
        pairs = rng.normal(0, 0.15, (*shape, *shape))
        at = [(i, self.levels.index(params[name])) for i, name in enumerate(self.names)]
        total = sum(single[a] for a in at) + sum(
            pairs[*a, *b] for a, b in itertools.combinations(at, 2)
        )
        return 1 / (1 + math.exp(-total))


@dataclass(frozen=True)
class Conditional:
    """Four stages, each of a kind with parameters of its own; neighbours should agree."""

    stages: int = 4

    def suggest(self, trial):
        params = {}
        for i in range(self.stages):
            kind = params[f"{i}.kind"] = trial.suggest_categorical(f"{i}.kind", list(KINDS))
            for name, options in KINDS[kind].items():
                full = f"{i}.{kind}.{name}"
                params[full] = trial.suggest_categorical(full, options)
            params[f"{i}.layers"] = trial.suggest_int(f"{i}.layers", 1, 4)
        return params

    def cost(self, params):
        return sum(self._stage(params, i)[0] for i in range(self.stages))

    def accuracy(self, params):
        total = sum(self._stage(params, i)[1] for i in range(self.stages))
        kinds = [params[f"{i}.kind"] for i in range(self.stages)]
        total += 0.6 * (kinds == ["conv", "conv", "mbconv", "mbconv"])
        total -= 0.2 * sum(a != b for a, b in itertools.pairwise(kinds))
        return 1 / (1 + math.exp(-total))

    def _stage(self, params, i):
        layers = params[f"{i}.layers"]
        if params[f"{i}.kind"] == "conv":
            kernel = params[f"{i}.conv.kernel"]
            return layers * kernel**2, 0.25 * math.log(layers * kernel) - 0.1 * (kernel == 7)
        expand, se = params[f"{i}.mbconv.expand"], params[f"{i}.mbconv.se"]
        return layers * (6 * expand + 4 * se), 0.3 * math.log(layers * expand) + 0.15 * se


def reward(objective, params):
    return objective.accuracy(params) * (objective.cost(params) / TARGET) ** -0.07


def search(objective, sampler, *, seed, trials, noise=0.01):
    """The study of a noisy search."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng = np.random.default_rng([seed, 7])

    def evaluate(trial):
        params = objective.suggest(trial)
        factor = (objective.cost(params) / TARGET) ** -0.07
        return (objective.accuracy(params) + rng.normal(0, noise)) * factor

    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(evaluate, n_trials=trials)
    return study
