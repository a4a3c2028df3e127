"""Milliseconds to keep a trial of 30 parameters in SQLite: ours against Optuna's own two ways.

    python -m experiments.benchmarks.bookkeeping

Ours opens a trial at its start and writes it whole at its end, two transactions. Optuna's
`add_trial` writes a finished trial; `ask` and `tell` write parameter by parameter, as OptunaSearch
with a storage does. One file each with the same settings (WAL, synchronous=NORMAL), in turn.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from experiments.benchmarks.record import keep, summary
from experiments.store.store import Store
from experiments.store.trial import Candidate, Trial
from scaler.cost import Cost
from search_spaces.space import load_space

NOTE = (
    "Milliseconds a trial of {parameters} parameters and one epoch, {trials} trials each, in turn; "
    "`ratio` is the median over the first row's."
)


def contenders(folder: Path, parameters: int) -> dict[str, Callable[[int], object]]:
    kinds: dict[str, BaseDistribution] = {
        f"stages.{i}.block.kernel_size": CategoricalDistribution((3, 5, 7))
        for i in range(parameters)
    }
    architecture = load_space("mbconv_small").suggest(optuna.create_study().ask())
    stores = [Store(folder / f"{name}.db") for name in ("ours", "add", "tell")]
    studies = [store.study("search") for store in stores]

    def candidate(number: int) -> Candidate:
        params: dict[str, Any] = dict.fromkeys(kinds, 3)
        return Candidate(architecture, Cost(1, 1, 1), 0, number, params=params, distributions=kinds)

    def done(begun: Candidate) -> FrozenTrial:
        trial = Trial(begun, host="here", device="cpu").with_curve([0.5])
        return trial.ended("complete", 0.5, seconds=1.0).frozen()

    def ours(number: int) -> None:
        begun = candidate(number)
        stores[0].open("search", Trial(begun))
        stores[0].record("search", done(begun), suggestion=number)

    def add(number: int) -> None:
        studies[1].add_trial(done(candidate(number)))

    def tell(number: int) -> None:
        frozen = done(candidate(number))
        trial = studies[2].ask(kinds)
        for key, value in frozen.user_attrs.items():
            trial.set_user_attr(key, value)
        trial.report(0.5, 1)
        studies[2].tell(trial, 0.5)

    return {
        "ours, opened and written whole": ours,
        "Optuna's add_trial": add,
        "Optuna's ask and tell, with the same attributes": tell,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--parameters", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        ways = contenders(Path(folder), args.parameters)
        samples: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(args.trials + 1):
            for name, way in ways.items():
                began = time.perf_counter()
                way(number)
                if number:  # the first one makes the study
                    samples[name].append(1e3 * (time.perf_counter() - began))
    figures = {name: summary(values) for name, values in samples.items()}
    base = next(iter(figures.values()))["median"]
    rows = [
        {"what": name, **figure, "ratio": round(figure["median"] / base, 1)}
        for name, figure in figures.items()
    ]
    keep("bookkeeping", rows, folder=args.out, note=NOTE.format(**vars(args)))


if __name__ == "__main__":
    main()
