"""Seconds a suggestion after 1,000 trials of the `mbconv` space.

    python -m experiments.benchmarks.suggestion

The trials are random networks with made-up accuracies (a function of their FLOPs, and noise); their
costs are counted once, as a search would have done. Timed is `ask` with the whole of
`space.suggest`, after each a trial is told, so that the model's fit is in the time as in a search.
Beside ours stands Optuna's TPE as we set it up, multivariate and grouped.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FixedTrial, FrozenTrial

from experiments.benchmarks.record import keep, summary
from experiments.samplers import make_sampler
from scaler.cost import measure_cost
from search_spaces.space import SearchSpace, load_space

TARGET = 1e8
NOTE = "Seconds a suggestion in space `{space}` after {trials} trials, and after 100, one thread."


def costing(space: SearchSpace) -> Any:
    return lambda params: measure_cost(space.suggest(FixedTrial(params)), num_classes=10).flops


def random_trials(space: SearchSpace, cost: Any, count: int) -> list[FrozenTrial]:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    rng = np.random.default_rng(0)
    for _ in range(count):
        trial = study.ask()
        space.suggest(trial)
        flops = cost(trial.params)
        accuracy = 1 / (1 + math.exp(-0.3 * math.log(flops / 1e6) + rng.normal(0, 0.1)))
        study.tell(trial, accuracy * (flops / TARGET) ** -0.07)
    return study.trials


def timed(
    name: str, space: SearchSpace, cost: Any, trials: list[FrozenTrial], rounds: int
) -> list[float]:
    sampler = make_sampler(name, cost=cost, target=TARGET, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)
    samples = []
    for _ in range(rounds):
        began = time.perf_counter()
        trial = study.ask()
        space.suggest(trial)
        samples.append(time.perf_counter() - began)
        study.tell(trial, 0.8)
    return samples[1:]  # the first reads all trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--space", default="mbconv")
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = load_space(args.space)
    cost = costing(space)
    trials = random_trials(space, cost, args.trials)
    rows = []
    for count in (args.trials, 100):
        figures = {
            name: summary(timed(name, space, cost, trials[:count], args.rounds))
            for name in ("cost_aware", "tpe")
        }
        base = figures["cost_aware"]["median"]
        rows += [
            {"trials": count, "sampler": name, **f, "ratio": round(f["median"] / base, 2)}
            for name, f in figures.items()
        ]
    keep("suggestion", rows, folder=args.out, note=NOTE.format(**vars(args)))


if __name__ == "__main__":
    main()
