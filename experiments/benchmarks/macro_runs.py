"""Searches of NAS-Bench-Macro, one line of JSON a search, kept so that a long series can go on.

    python -m experiments.benchmarks.macro_runs --searcher tpe --seeds 0:100 --evaluations 200

Every searcher meets the same objective, the same noise (seed s draws the same trainings for all)
and the same rule for duplicates: a network already tried costs nothing; it is told as failed and
drawn again, at most `REDRAWS` times, and then one layer of it is changed at random until it is new.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState, create_trial

from experiments.benchmarks.macro import (
    EXPONENT,
    LAYERS,
    STAGES,
    TARGET_FLOPS,
    Code,
    Macro,
    distinct,
)

NAMES = [f"layer{i}" for i in range(LAYERS)]
CHOICE = optuna.distributions.CategoricalDistribution((0, 1, 2))
REDRAWS = 10
SLOW_REDRAWS = 1  # of Optuna's GP sampler, which proposes the same network again and takes seconds


def _ours(name: str, *, described: bool = True) -> Callable[[int, Macro], BaseSampler]:
    def make(seed: int, macro: Macro) -> BaseSampler:
        from experiments.samplers import make_sampler

        flops = dict(zip(macro.codes, macro.flops, strict=True))

        def cost(params: dict[str, Any]) -> float:
            return float(flops[distinct(tuple(params[name] for name in NAMES))])

        return make_sampler(
            name,
            cost=cost,
            target=TARGET_FLOPS,
            exponent=EXPONENT,
            network=network if described else None,
            seed=seed,
        )

    return make


def network(params: dict[str, Any]) -> dict[str, int]:
    """Which of the distinct networks they make, described as an Architecture is.

    That is each stage's number of layers and the operators in order, identities left out.
    """
    code = distinct(tuple(params[name] for name in NAMES))
    layers = {
        f"stage{i}.layers": sum(operator > 0 for operator in code[first:end])
        for i, (first, end) in enumerate(STAGES)
    }
    return dict(zip(NAMES, code, strict=True)) | layers


SEARCHERS: dict[str, Callable[[int, Macro], BaseSampler]] = {
    "random": lambda seed, _: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed, _: optuna.samplers.TPESampler(seed=seed, multivariate=False),
    "tpe_multivariate": lambda seed, _: optuna.samplers.TPESampler(seed=seed, multivariate=True),
    "optuna_gp": lambda seed, _: optuna.samplers.GPSampler(seed=seed),
    "optuna_nsga2": lambda seed, _: optuna.samplers.NSGAIISampler(seed=seed),
    "optuna_nsga2_pareto": lambda seed, _: optuna.samplers.NSGAIISampler(seed=seed),
    "nsga2": _ours("nsga2"),
    "regularized_evolution": _ours("regularized_evolution"),
    "local_search": _ours("local_search"),
    "cost_aware": _ours("cost_aware"),
    "cost_aware, parameters alone": _ours("cost_aware", described=False),
}


def run(
    searcher: str,
    macro: Macro,
    *,
    seed: int,
    evaluations: int,
    noise: bool,
    until_best: bool = False,
) -> dict[str, Any]:
    """The networks tried, in order; `until_best` ends at the first of the three best."""
    pareto = searcher == "optuna_nsga2_pareto"
    directions: list[Any] = ["maximize", "minimize"] if pareto else ["maximize"]
    study = optuna.create_study(directions=directions, sampler=SEARCHERS[searcher](seed, macro))
    redraws = SLOW_REDRAWS if searcher == "optuna_gp" else REDRAWS
    index = {code: i for i, code in enumerate(macro.codes)}
    shown, factors = macro.shown(seed, noise=noise), macro.factors
    best = set(np.argsort(macro.regrets)[:3].tolist())
    rng = np.random.default_rng([seed, 1])
    tried: list[int] = []
    began = time.perf_counter()

    def values(i: int) -> list[float]:
        return [shown[i], macro.flops[i]] if pareto else [shown[i] * factors[i]]

    while len(tried) < evaluations and not (until_best and tried and tried[-1] in best):
        for _ in range(redraws + 1):
            trial = study.ask()
            code: Code = tuple(trial.suggest_categorical(name, (0, 1, 2)) for name in NAMES)
            i = index[distinct(code)]
            if i not in tried:
                study.tell(trial, values(i))
                break
            study.tell(trial, state=TrialState.FAIL)
        else:
            while i in tried:
                code = _changed(code, rng)
                i = index[distinct(code)]
            params = dict(zip(NAMES, code, strict=True))
            study.add_trial(
                create_trial(
                    values=values(i), params=params, distributions=dict.fromkeys(NAMES, CHOICE)
                )
            )
        tried.append(i)
    seconds = (time.perf_counter() - began) / len(tried)
    return {"searcher": searcher, "seed": seed, "noise": noise, "tried": tried, "seconds": seconds}


def _changed(code: Code, rng: np.random.Generator) -> Code:
    layer = int(rng.integers(LAYERS))
    return (*code[:layer], int(rng.integers(3)), *code[layer + 1 :])


def kept(path: Path) -> list[dict[str, Any]]:
    """The searches that a file holds, plain or with gzip."""
    if not path.is_file():
        return []
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def main() -> None:
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--searcher", choices=SEARCHERS, required=True)
    parser.add_argument("--seeds", default="0:100", help="first:end")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument(
        "--exact", action="store_true", help="no noise, until one of the best three"
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--runs", type=Path, required=True, help="the JSON lines file to add to")
    args = parser.parse_args()
    macro = Macro.load(args.data)
    done = {(r["searcher"], r["seed"], r["noise"]) for r in kept(args.runs)}
    first, end = map(int, args.seeds.split(":"))
    for seed in range(first, end):
        if (args.searcher, seed, not args.exact) in done:
            continue
        record = run(
            args.searcher,
            macro,
            seed=seed,
            evaluations=args.evaluations,
            noise=not args.exact,
            until_best=args.exact,
        )
        with args.runs.open("a") as file:
            file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
