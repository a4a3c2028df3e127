"""Regret on made-up spaces of several natures: ours against Optuna's searchers and simple ones.

    python -m experiments.benchmarks.spaces --seeds 30000:30020

A seed makes the space's table, its noise and the searcher's random numbers, so all searchers meet
the same and differences are paired. The rule for repeats is `macro_runs.search`'s. Seeds from 1,000
on are for tuning; show seeds that nobody has looked at. `cost unknown` is ours where it is not told
what the cost is, and so has to learn the reward as it is.
"""

import argparse
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from experiments.benchmarks import keep
from experiments.benchmarks.parts.macro_runs import search
from experiments.benchmarks.parts.made_up import EXPONENT, SPACES, Array, Space
from experiments.benchmarks.regret import interval

OURS = "cost_aware"
UNTOLD = "cost_aware, cost unknown"
COUNTS = (30, 50, 100)


def _sampler(name: str, space: Space, seed: int) -> BaseSampler:
    from experiments.samplers import make_sampler

    if name == UNTOLD:
        return make_sampler(OURS, network=key_of, seed=seed)
    if name in {OURS, "local_search", "regularized_evolution"}:
        known = {"cost": space.cost, "target": space.target, "exponent": EXPONENT}
        return make_sampler(name, **known, network=key_of, seed=seed)  # type: ignore[arg-type]
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "optuna_gp":
        return optuna.samplers.GPSampler(seed=seed)
    several = name == "tpe_multivariate"
    return optuna.samplers.TPESampler(seed=seed, multivariate=several, group=several)


RIVALS = ("tpe", "tpe_multivariate", "local_search", "regularized_evolution", "random")


def key_of(params: Mapping[str, Any]) -> str:
    """Equal for equal networks."""
    return str(sorted(params.items()))


def regrets(name: str, searcher: str, seed: int, *, counts: Sequence[int] = COUNTS) -> Array:
    """(2, len(counts)) 100 x regret of one search: best observed, by `recommend`."""
    from experiments.samplers import recommend

    stream = [seed, zlib.crc32(name.encode())]
    rng = np.random.default_rng(stream)
    space = SPACES[name](rng)
    best = space.best(rng)

    def true(params: Mapping[str, Any]) -> float:
        return float(space.rewards(space.levels(params))[0])

    def shown(params: Mapping[str, Any]) -> float:
        drawn = np.random.default_rng([*stream, zlib.crc32(key_of(params).encode())])
        return float(space.rewards(space.levels(params), space.noise * drawn.normal())[0])

    sampler = _sampler(searcher, space, seed)
    trials = search(sampler, space.suggest, key_of, shown, seed=seed, evaluations=max(counts))

    def recommended(seen: list[FrozenTrial]) -> FrozenTrial:
        if searcher == UNTOLD:
            return recommend(seen, network=key_of)[0]
        known = {"cost": space.cost, "target": space.target, "exponent": EXPONENT}
        return recommend(seen, **known, network=key_of)[0]  # type: ignore[arg-type]

    named = [
        [max(trials[:count], key=lambda t: t.value or 0.0) for count in counts],
        [recommended(trials[:count]) for count in counts],
    ]
    return np.array([[100 * (best - true(trial.params)) for trial in row] for row in named])


def rows(found: Mapping[str, Mapping[str, Array]], counts: Sequence[int]) -> list[dict[str, Any]]:
    """A row a space, count and searcher of `found` (space, searcher, (seeds, 2, counts))."""
    listed = []
    for space, searchers in found.items():
        for at, count in enumerate(counts):
            ours = searchers[OURS][:, :, at]
            for searcher, regret in searchers.items():
                row = {"space": space, "evaluations": count, "searcher": searcher}
                row |= {"n": len(regret)}
                row |= {"best observed": interval(regret[:, 0, at])}
                row |= {"by recommend": interval(regret[:, 1, at])}
                pairs = ours[: len(regret), 0] - regret[:, 0, at]
                row |= {"ours - rival, observed": "" if searcher == OURS else interval(pairs)}
                pairs = ours[: len(regret), 1] - regret[:, 0, at]
                row |= {"ours by recommend - rival": "" if searcher == OURS else interval(pairs)}
                listed.append(row)
    return listed


def main() -> None:
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", required=True, help="first:end")
    parser.add_argument("--spaces", nargs="+", choices=SPACES, default=list(SPACES))
    every = [OURS, UNTOLD, *RIVALS]
    parser.add_argument("--searchers", nargs="+", choices=[*every, "optuna_gp"], default=every)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    seeds = range(*map(int, args.seeds.split(":")))
    found = {
        space: {
            searcher: np.array([regrets(space, searcher, s, counts=args.counts) for s in seeds])
            for searcher in args.searchers
        }
        for space in args.spaces
    }
    note = f"100 x regret on made-up spaces, mean [95 %], differences paired; seeds {args.seeds}."
    keep("spaces", rows(found, args.counts), folder=args.out, note=note)


if __name__ == "__main__":
    main()
