"""Seconds of bookkeeping a trial: ours against Ray Tune with stock searchers.

    python -m experiments.benchmarks.overhead
    python -m experiments.benchmarks.overhead share

Trials that do nothing but return a number, from the `mbconv_small` space. Ours writes every trial
to the SQLite study at its start and at its end, costs it with fvcore and throws duplicates back.
The rivals: OptunaSearch (its default TPE and in-memory study) at Tune's defaults, a process a
trial; the same with reused actors; and Tune's own random search with reused actors, which keeps
nothing. Each round runs all of them in turn, so that all meet the same machine; of each run the
time counts from the end of its fourth trial, when the workers have started, to that of its last. A
long run of ours comes first and is not counted: the cost of a layer is traced once a process.

`share` tells how much of the workers' time is trial work: 2 workers, trials that sleep for 2 s, in
one epoch or in four with a report and a checkpoint each. It is trials * 2 s over workers * wall
time, from the first trial's start to the last one's end.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks import keep, summary
from experiments.config.schema import SearchConfig
from experiments.config.search_section import SearchSection
from experiments.config.sections import ClusterSection
from experiments.engine.machines.cluster import ray_session
from experiments.engine.progress import Progress
from experiments.store.trial import Trial
from search_spaces.space import load_space

NOTE = (
    "Seconds a no-op trial: n rounds in turn of {ours} trials of ours and {trials} of each rival, "
    "the first {warm} of each left out; `ratio` is the median over the first row's."
)
SHARE_NOTE = (
    "Share of the time of 2 workers that is trial work, {trials} trials of 2 s, {rounds} rounds."
)
SPACE = "mbconv_small"
WARM = 4  # trials at the start of each run, two a worker
SECONDS = 2.0  # that a trial of `share` sleeps
WORKERS = 2


def ours(trials: int, *, sampler: str, seed: int) -> float:
    from experiments.steps.search import search

    def evaluate(architecture: Any, *, report: Any, seed: int, checkpoint_dir: Path) -> float:  # noqa: ARG001
        return 0.5

    ends: list[float] = []
    ended = Progress.ended

    def watched(self: Progress, trial: Trial) -> None:
        ended(self, trial)
        ends.append(time.perf_counter())

    Progress.ended = watched  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        section = SearchSection(
            space=SPACE, trials=trials, epochs=1, early_stopping=None, sampler=sampler
        )
        config = SearchConfig(
            confirmation=None, name="noop", run=Path(folder) / "run", search=section, seed=seed
        )
        try:
            search(config, evaluate=evaluate, num_classes=10, in_channels=3)
        finally:
            Progress.ended = ended  # type: ignore[method-assign]
    return seconds_a_trial(ends, trials)


def seconds_a_trial(ends: list[float], trials: int) -> float:
    """From the times at which trials ended, the first ones left out."""
    assert len(ends) == trials
    return (ends[-1] - ends[WARM - 1]) / (trials - WARM)


def define_by_run(trial: Any) -> None:
    """The same space for OptunaSearch, which pickles it: so it stands in the module."""
    load_space(SPACE).suggest(trial)


def at_random() -> dict[str, Any]:
    """The same space for Tune's own random search."""
    import optuna
    from ray import tune

    trial = optuna.create_study().ask()
    load_space(SPACE).suggest(trial)
    kinds = trial.distributions.items()
    return {name: tune.choice(list(getattr(kind, "choices", ()))) for name, kind in kinds}


def stock(trials: int, *, reuse: bool, random: bool = False) -> float:
    from ray import tune
    from ray.tune.search import BasicVariantGenerator
    from ray.tune.search.optuna import OptunaSearch

    class NoOp(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None: ...

        def step(self) -> dict[str, Any]:
            return {"reward": 0.5, "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None: ...

        def load_checkpoint(self, checkpoint: Any) -> None: ...

    class Ends(tune.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_trial_complete(self, **_: Any) -> None:
            self.times.append(time.perf_counter())

    ends = Ends()
    if random:
        searcher = BasicVariantGenerator()
    else:
        searcher = OptunaSearch(space=define_by_run, metric="reward", mode="max")
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            NoOp,
            param_space=at_random() if random else None,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=trials,
                metric="reward",
                mode="max",
                reuse_actors=reuse,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[ends]),
        )
        assert tuner.fit().num_errors == 0
    return seconds_a_trial(ends.times, trials)


def measure_seconds(args: argparse.Namespace) -> None:
    """Keep the seconds of bookkeeping a trial, ours and the rivals'."""
    trials = args.trials or 10
    contenders: dict[str, Callable[[int], float]] = {
        "ours, random, durable SQLite study": lambda n: ours(n, sampler="random", seed=0),
        "ours, TPE, durable SQLite study": lambda n: ours(n, sampler="tpe", seed=0),
        "Ray Tune, random, reused actors": lambda n: stock(n, reuse=True, random=True),
        "Ray Tune + OptunaSearch, reused actors": lambda n: stock(n, reuse=True),
        "Ray Tune + OptunaSearch, defaults": lambda n: stock(n, reuse=False),
    }
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ray_session(ClusterSection()):
        ours(args.warm, sampler="random", seed=0)
        last = time.monotonic() + 60 * args.minutes
        for _ in range(args.rounds or 10):
            if time.monotonic() > last:
                break
            for name, run in contenders.items():
                samples[name].append(run(args.ours if "ours" in name else trials))
    figures = {name: summary(values) for name, values in samples.items()}
    base = next(iter(figures.values()))["median"]
    rows = [
        {"what": name, **figure, "ratio": round(figure["median"] / base, 2)}
        for name, figure in figures.items()
    ]
    note = NOTE.format(ours=args.ours, trials=trials, warm=WARM)
    keep("overhead", rows, folder=args.out, note=note)


def share(trials: int, *, epochs: int, folder: Path) -> float:
    """The share of two workers' time that is trial work, in one search of sleeping trials."""
    from experiments import load_trials
    from experiments.steps.search import search

    log = folder / f"log-{time.monotonic_ns()}"

    def evaluate(architecture: Any, *, report: Any, seed: int, checkpoint_dir: Path) -> float:  # noqa: ARG001
        with log.open("a") as file:
            file.write(f"{time.time()}\n")
        for epoch in range(1, epochs + 1):
            time.sleep(SECONDS / epochs)
            (checkpoint_dir / "state").write_bytes(os.urandom(200_000))
            report(epoch, 0.5)
        with log.open("a") as file:
            file.write(f"{time.time()}\n")
        (checkpoint_dir / "state").unlink()
        return 0.5

    run = folder / f"run-{time.monotonic_ns()}"
    section = SearchSection(trials=trials, epochs=epochs, early_stopping=None)
    cluster = ClusterSection(workers=WORKERS)
    config = SearchConfig(confirmation=None, name="work", run=run, search=section, cluster=cluster)
    search(config, evaluate=evaluate, num_classes=10, in_channels=3)
    assert len(load_trials(run)) == trials
    times = [float(line) for line in log.read_text().split()]
    return trials * SECONDS / (WORKERS * (max(times) - min(times)))


def measure_share(args: argparse.Namespace) -> None:
    """Keep how much of two workers' time is trial work."""
    trials = args.trials or 30
    kinds = {"one report": 1, "four reports with a checkpoint of 200 kB each": 4}
    samples: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder, ray_session(ClusterSection(workers=WORKERS)):
        share(4, epochs=1, folder=Path(folder))
        for _ in range(args.rounds or 3):
            for kind, epochs in kinds.items():
                samples[kind].append(share(trials, epochs=epochs, folder=Path(folder)))
    rows = [{"what": kind, **summary(values)} for kind, values in samples.items()]
    rounds = next(iter(rows))["n"]
    note = SHARE_NOTE.format(trials=trials, rounds=rounds)
    keep("utilisation", rows, folder=args.out, note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=["seconds", "share"], nargs="?", default="seconds")
    parser.add_argument("--ours", type=int, default=54)
    parser.add_argument("--trials", type=int, help="Of a rival (10), or in all for `share` (30).")
    parser.add_argument("--rounds", type=int, help="10 of `seconds`, 3 of `share` by default.")
    parser.add_argument("--warm", type=int, default=60, help="Trials of ours before it begins.")
    parser.add_argument("--minutes", type=float, default=60.0, help="No round begins after them.")
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    {"seconds": measure_seconds, "share": measure_share}[args.what](args)


if __name__ == "__main__":
    main()
