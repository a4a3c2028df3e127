"""What a finished trial of 30 parameters costs in PostgreSQL, beside Optuna's ask and tell there.

    python -m experiments.benchmarks.database

A server is started from the machine's own binaries, on loopback, with fsync on. The three ways take
turns, a trial each. Transactions are counted on the connections.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial

from experiments.benchmarks.record import keep, summary
from experiments.store.store import Store
from experiments.store.trial import Candidate, Trial
from scaler.cost import Cost
from search_spaces.reference import load_architecture
from tests.postgres_server import binaries, free_port, running

PARAMS = 30


def whole_trial(number: int) -> FrozenTrial:
    """A trial as a search records it: 30 parameters, five epochs, the architecture."""
    kind = optuna.distributions.FloatDistribution(0, 1)
    names = [f"p{i}" for i in range(PARAMS)]
    candidate = Candidate(
        load_architecture("efficientnet_b0"),
        Cost(1, 1, 1),
        seed=number,
        suggestion=number,
        params=dict.fromkeys(names, 0.5),
        distributions=dict.fromkeys(names, kind),
    )
    return Trial(candidate).with_curve((0.1, 0.2, 0.3, 0.4, 0.5)).ended("complete", 0.5).frozen()


def ask_and_tell(study: optuna.Study) -> None:
    """The same through Optuna's usual calls, a write a parameter and an epoch."""
    trial = study.ask()
    for i in range(PARAMS):
        trial.suggest_float(f"p{i}", 0, 1)
    for epoch in range(1, 6):
        trial.report(epoch / 10, epoch)
    study.tell(trial, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    programs = binaries()
    if programs is None:
        parser.error("this machine has no PostgreSQL server (no initdb)")
    with running(programs, free_port(), durable=True) as server, tempfile.TemporaryDirectory() as t:
        shared = Store(Path(t) / "no.db", database=server.database("ours"), run="bench")
        local = Store(Path(t) / "study.db")
        plain = Store(Path(t) / "no.db", database=server.database("optuna"), run="bench")
        optuna_study = optuna.create_study(
            storage=plain.study("search")._storage, sampler=optuna.samplers.RandomSampler()
        )
        rows = measure(
            {
                "ours, PostgreSQL": (shared, lambda i: shared.record("search", whole_trial(i))),
                "ours, SQLite": (local, lambda i: local.record("search", whole_trial(i))),
                "Optuna ask/tell, PostgreSQL": (plain, lambda _: ask_and_tell(optuna_study)),
            },
            args.trials,
        )
    note = f"Milliseconds to store a trial of {PARAMS} parameters and 5 epochs; fsync on, loopback."
    keep("database", rows, folder=args.out, note=note)


def measure(
    ways: dict[str, tuple[Store, Callable[[int], None]]], trials: int
) -> list[dict[str, object]]:
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


if __name__ == "__main__":
    main()
