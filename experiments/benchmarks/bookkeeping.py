"""What a trial costs beside its training: to be kept, in milliseconds, and to be suggested.

    python -m experiments.benchmarks.bookkeeping sqlite
    python -m experiments.benchmarks.bookkeeping postgresql
    python -m experiments.benchmarks.bookkeeping suggestion

In SQLite ours opens a trial at its start and writes it whole at its end, two transactions. Optuna's
`add_trial` writes a finished trial; `ask` and `tell` write parameter by parameter, as OptunaSearch
with a storage does. One file each with the same settings (WAL, synchronous=NORMAL), in turn.

A PostgreSQL server is started from the machine's own binaries, on loopback, with fsync on. The
three ways take turns, a trial each. Transactions are counted on the connections.

`suggestion`: seconds a suggestion after 1,000 trials of the `mbconv` space. The trials are random
networks with made-up accuracies (a function of their FLOPs, and noise); their costs are counted
once, as a search would have done. Timed is `ask` with the whole of `space.suggest`, after each a
trial is told, so that the model's fit is in the time as in a search. Beside ours stands Optuna's
TPE as we set it up, multivariate and grouped.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FixedTrial, FrozenTrial

from experiments.benchmarks import keep, summary
from experiments.benchmarks.parts.told_epochs import told_epochs
from experiments.samplers import make_sampler
from experiments.store.store import Store
from experiments.store.trial import Candidate, Trial
from scaler.cost import Cost, measure_cost
from search_spaces.reference import load_architecture
from search_spaces.space import SearchSpace, load_space
from tests.postgres_server import binaries, free_port, running

NOTE = (
    "Milliseconds a trial of {parameters} parameters and one epoch, {trials} trials each, in turn; "
    "`ratio` is the median over the first row's."
)
SPACE = "mbconv"  # of `suggestion`, as are the next two
TARGET = 1e8
ROUNDS = 20


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
        trial = Trial(begun, host="here", device="cpu", epochs=told_epochs([0.5]))
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


def measure_sqlite(args: argparse.Namespace) -> None:
    """Keep the milliseconds of a trial in a SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        trials = args.trials or 100
        ways = contenders(Path(folder), args.parameters)
        samples: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(trials + 1):
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
    keep(
        "bookkeeping",
        rows,
        folder=args.out,
        note=NOTE.format(parameters=args.parameters, trials=trials),
    )


def whole_trial(number: int, parameters: int) -> FrozenTrial:
    """A trial as a search records it, with five epochs."""
    kind = optuna.distributions.FloatDistribution(0, 1)
    names = [f"p{i}" for i in range(parameters)]
    candidate = Candidate(
        load_architecture("efficientnet_b0"),
        Cost(1, 1, 1),
        seed=number,
        suggestion=number,
        params=dict.fromkeys(names, 0.5),
        distributions=dict.fromkeys(names, kind),
    )
    epochs = told_epochs((0.1, 0.2, 0.3, 0.4, 0.5))
    return Trial(candidate, epochs=epochs).ended("complete", 0.5).frozen()


def ask_and_tell(study: optuna.Study, parameters: int) -> None:
    """The same through Optuna's usual calls, a write a parameter and an epoch."""
    trial = study.ask()
    for i in range(parameters):
        trial.suggest_float(f"p{i}", 0, 1)
    for epoch in range(1, 6):
        trial.report(epoch / 10, epoch)
    study.tell(trial, 0.5)


def turns(
    ways: dict[str, tuple[Store, Callable[[int], None]]], trials: int
) -> list[dict[str, object]]:
    """A trial each in turn; milliseconds and transactions of each way."""
    commits: dict[str, int] = dict.fromkeys(ways, 0)
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for name, (store, work) in ways.items():
        work(0)

        def count(_: object, name: str = name) -> None:
            commits[name] += 1

        sqlalchemy.event.listen(store.engine, "commit", count)
        sqlalchemy.event.listen(store.engine, "rollback", count)
    for number in range(1, trials + 1):
        for name, (_, work) in ways.items():
            began = time.perf_counter()
            work(number)
            samples[name].append(1000 * (time.perf_counter() - began))
    first = summary(samples["ours, PostgreSQL"])["median"]
    return [
        {
            "way": name,
            **summary(values),
            "times ours": round(summary(values)["median"] / first, 2),
            "transactions a trial": round(commits[name] / trials, 2),
        }
        for name, values in samples.items()
    ]


def measure_postgresql(args: argparse.Namespace) -> None:
    """Keep the milliseconds of a trial in PostgreSQL, and in SQLite beside it."""
    programs = binaries()
    if programs is None:
        raise SystemExit("this machine has no PostgreSQL server (no initdb)")
    with running(programs, free_port(), durable=True) as server, tempfile.TemporaryDirectory() as t:
        shared = Store(Path(t) / "no.db", database=server.database("ours"), run="bench")
        local = Store(Path(t) / "study.db")
        plain = Store(Path(t) / "no.db", database=server.database("optuna"), run="bench")
        optuna_study = optuna.create_study(
            storage=plain.study("search")._storage, sampler=optuna.samplers.RandomSampler()
        )
        count = args.parameters
        rows = turns(
            {
                "ours, PostgreSQL": (
                    shared,
                    lambda i: shared.record("search", whole_trial(i, count)),
                ),
                "ours, SQLite": (
                    local,
                    lambda i: local.record("search", whole_trial(i, count)),
                ),
                "Optuna ask/tell, PostgreSQL": (
                    plain,
                    lambda _: ask_and_tell(optuna_study, count),
                ),
            },
            args.trials or 100,
        )
    note = f"Milliseconds to store a trial of {count} parameters and 5 epochs; fsync on, loopback."
    keep("database", rows, folder=args.out, note=note)


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


def measure_suggestion(args: argparse.Namespace) -> None:
    """Keep the seconds of a suggestion after many trials, and after 100."""
    import torch

    count = args.trials or 1_000
    torch.set_num_threads(1)
    space = load_space(SPACE)
    cost = costing(space)
    trials = random_trials(space, cost, count)
    rows = []
    for told in (count, 100):
        figures = {
            name: summary(timed(name, space, cost, trials[:told], ROUNDS))
            for name in ("cost_aware", "tpe")
        }
        base = figures["cost_aware"]["median"]
        rows += [
            {"trials": told, "sampler": name, **f, "ratio": round(f["median"] / base, 2)}
            for name, f in figures.items()
        ]
    note = f"Seconds a suggestion in space `{SPACE}` after {count} trials, and 100, one thread."
    keep("suggestion", rows, folder=args.out, note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=["sqlite", "postgresql", "suggestion"])
    parser.add_argument("--trials", type=int, help="100, or 1,000 for `suggestion`.")
    parser.add_argument("--parameters", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    measures = {
        "sqlite": measure_sqlite,
        "postgresql": measure_postgresql,
        "suggestion": measure_suggestion,
    }
    measures[args.what](args)


if __name__ == "__main__":
    main()
