"""Searches of NAS-Bench-Macro, one line of JSON a search, kept so that a long series can go on.

    python -m experiments.benchmarks.parts.macro_runs --searcher tpe --seeds 0:100 --runs runs.jsonl

Every searcher meets the same objective, the same noise (seed s draws the same trainings for all),
the same description of the space (three operators, in the order of their size) and the same rule
for repeats (see `search`). Ours is made as `scaler search` makes it.

NAS-Bench-Macro (arXiv:2103.11922) is a table: eight layers, each an identity (0), an MBConv with
expansion 3 and kernel 3 (1) or one with expansion 6 and kernel 5 (2); three trainings of each
network on CIFAR-10. Identities may move among the later layers of a stage without changing the
network: 3,969 networks are distinct.
"""

import argparse
import gzip
import json
import os
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces.records import InputError

LAYERS = 8
STAGES = ((0, 2), (2, 5), (5, 8))  # layers of each stage; its first layer is fixed in place
TARGET_FLOPS = 57_602_560
EXPONENT = -0.07
FILE = Path("nas-bench-macro/nas-bench-macro_cifar10.json")

Code = tuple[int, ...]  # the operator of each layer


def distinct(code: Code) -> Code:
    """The code of the same network with each stage's identities at the stage's end."""
    same: list[int] = []
    for first, end in STAGES:
        later = [operator for operator in code[first + 1 : end] if operator]
        same += [code[first], *later, *[0] * (end - first - 1 - len(later))]
    return tuple(same)


@dataclass(frozen=True)
class Macro:
    """Distinct networks with their three accuracies (N, 3) and FLOPs (N,)."""

    codes: tuple[Code, ...]
    accuracies: npt.NDArray[np.float64]
    flops: npt.NDArray[np.float64]

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read the table: `path`, or the file under SCALER_DATA."""
        file = path or Path(os.environ.get("SCALER_DATA", ".")) / FILE
        if not file.is_file():
            raise InputError(f"no table at '{file}'; name it with --data, or set SCALER_DATA")
        table: Mapping[str, Any] = json.loads(file.read_text())
        codes = sorted({distinct(tuple(int(digit) for digit in key)) for key in table})
        rows = [table["".join(map(str, code))] for code in codes]
        return cls(
            codes=tuple(codes),
            accuracies=np.array([row["test_acc"] for row in rows]) / 100,
            flops=np.array([row["flops"] for row in rows], dtype=float),
        )

    @property
    def factors(self) -> npt.NDArray[np.float64]:
        """(FLOPs / T)^w of each network."""
        return (self.flops / TARGET_FLOPS) ** EXPONENT

    @property
    def rewards(self) -> npt.NDArray[np.float64]:
        """On the mean of the three trainings."""
        return self.accuracies.mean(axis=1) * self.factors

    @property
    def regrets(self) -> npt.NDArray[np.float64]:
        """100 times what the network's reward falls short of the best."""
        return 100 * (self.rewards.max() - self.rewards)

    def shown(self, seed: int, *, noise: bool = True) -> npt.NDArray[np.float64]:
        """What an evaluation of each network shows in this run: one training, drawn once."""
        if not noise:
            return self.accuracies.mean(axis=1)
        drawn = np.random.default_rng(seed).integers(3, size=len(self.codes))
        return self.accuracies[np.arange(len(self.codes)), drawn]


NAMES = [f"layer{i}" for i in range(LAYERS)]
CHOICE = optuna.distributions.IntDistribution(0, 2)  # by the operator's size, to every searcher
REDRAWS = 10


def code_of(params: Mapping[str, Any]) -> Code:
    """The network that these parameters make."""
    return distinct(tuple(params[name] for name in NAMES))


def _ours(name: str) -> Callable[[int, Macro], BaseSampler]:
    """As `scaler search` makes it: it knows equal networks, and learns from the parameters."""

    def make(seed: int, macro: Macro) -> BaseSampler:
        from experiments.samplers import make_sampler

        flops = dict(zip(macro.codes, macro.flops, strict=True))
        return make_sampler(
            name,
            cost=lambda params: float(flops[code_of(params)]),
            target=TARGET_FLOPS,
            exponent=EXPONENT,
            network=code_of,
            seed=seed,
        )

    return make


SEARCHERS: dict[str, Callable[[int, Macro], BaseSampler]] = {
    "random": lambda seed, _: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed, _: optuna.samplers.TPESampler(seed=seed, multivariate=False),
    "tpe_multivariate": lambda seed, _: optuna.samplers.TPESampler(seed=seed, multivariate=True),
    "optuna_gp": lambda seed, _: optuna.samplers.GPSampler(seed=seed),
    "optuna_nsga2": lambda seed, _: optuna.samplers.NSGAIISampler(seed=seed),
    "nsga2": _ours("nsga2"),
    "regularized_evolution": _ours("regularized_evolution"),
    "local_search": _ours("local_search"),
    "cost_aware": _ours("cost_aware"),
}


def search(
    sampler: BaseSampler,
    suggest: Callable[[optuna.Trial], Mapping[str, Any]],
    key_of: Callable[[Mapping[str, Any]], Hashable],
    value_of: Callable[[Mapping[str, Any]], float],
    *,
    seed: int,
    evaluations: int,
    ends: Callable[[FrozenTrial], bool] = lambda _: False,
) -> list[FrozenTrial]:
    """The trials of different networks, in order; `ends` says of a trial that it is the last.

    A network that was tried already costs nothing: it is told as failed and another is drawn. After
    `REDRAWS` of them one parameter at a time is drawn at random until the network is new.
    """
    study = optuna.create_study(direction="maximize", sampler=sampler)
    astray = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    rng = np.random.default_rng([seed, 1])
    tried: dict[Hashable, FrozenTrial] = {}
    while len(tried) < evaluations:
        for _ in range(REDRAWS + 1):
            trial = study.ask()
            params = dict(suggest(trial))
            if key_of(params) not in tried:
                told = study.tell(trial, value_of(params))
                break
            study.tell(trial, state=TrialState.FAIL)
        else:
            while key_of(params) in tried:
                del params[list(params)[rng.integers(len(params))]]
                astray.enqueue_trial(params)
                drawn = astray.ask()
                params = dict(suggest(drawn))
                astray.tell(drawn, state=TrialState.FAIL)
            told = create_trial(
                value=value_of(params), params=params, distributions=drawn.distributions
            )
            study.add_trial(told)
        tried[key_of(params)] = told
        if ends(told):
            break
    return list(tried.values())


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
    index = {code: i for i, code in enumerate(macro.codes)}
    shown, factors = macro.shown(seed, noise=noise), macro.factors
    best = set(np.argsort(macro.regrets)[:3].tolist())
    began = time.perf_counter()
    trials = search(
        SEARCHERS[searcher](seed, macro),
        lambda trial: {name: trial.suggest_int(name, 0, 2) for name in NAMES},
        code_of,
        lambda params: float((shown * factors)[index[code_of(params)]]),
        seed=seed,
        evaluations=evaluations,
        ends=lambda trial: until_best and index[code_of(trial.params)] in best,
    )
    tried = [index[code_of(trial.params)] for trial in trials]
    seconds = (time.perf_counter() - began) / len(tried)
    return {"searcher": searcher, "seed": seed, "noise": noise, "tried": tried, "seconds": seconds}


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
    parser.add_argument("--evaluations", type=int, default=100)
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
