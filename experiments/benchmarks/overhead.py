"""Seconds of bookkeeping a trial: ours against Ray Tune with stock OptunaSearch.

    python -m experiments.benchmarks.overhead

Trials that do nothing but return a number, from the `mbconv_small` space. The rivals: OptunaSearch
(its default TPE and in-memory study) at Tune's defaults, a process a trial, and the same with
reused actors. Ours writes every trial to the SQLite study as it ends, costs it with fvcore and
throws duplicates back. Each round runs all three; a warm-up of each comes first and is not counted.
About ten minutes on two cores.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks.record import keep, summary
from experiments.config import ClusterSection, SearchConfig, SearchSection
from experiments.studies.cluster import ray_session
from search_spaces.space import load_space

NOTE = (
    "Seconds a no-op trial, {trials} trials a round, {rounds} rounds, warm-up apart; "
    "`ratio` is the rival's median over ours."
)


def ours(trials: int) -> float:
    from experiments.studies.search import search

    def evaluate(architecture: Any, *, report: Any, seed: int, checkpoint_dir: Path) -> float:  # noqa: ARG001
        return 0.5

    with tempfile.TemporaryDirectory() as folder:
        section = SearchSection(trials=trials, epochs=1, early_stopping=None)
        config = SearchConfig(name="noop", run=Path(folder) / "run", search=section)
        began = time.perf_counter()
        search(config, evaluate=evaluate, num_classes=10, in_channels=3)
        return (time.perf_counter() - began) / trials


def define_by_run(trial: Any) -> None:
    """The same space for OptunaSearch, which pickles it: so it stands in the module."""
    load_space("mbconv_small").suggest(trial)


def stock(trials: int, *, reuse: bool) -> float:
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class NoOp(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None: ...

        def step(self) -> dict[str, Any]:
            return {"reward": 0.5, "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None: ...

        def load_checkpoint(self, checkpoint: Any) -> None: ...

    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            NoOp,
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(space=define_by_run, metric="reward", mode="max"),
                num_samples=trials,
                metric="reward",
                mode="max",
                reuse_actors=reuse,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        began = time.perf_counter()
        results = tuner.fit()
        seconds = (time.perf_counter() - began) / trials
        assert len(results) == trials
        assert results.num_errors == 0
        return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    contenders: dict[str, Callable[[int], float]] = {
        "ours, durable SQLite study": ours,
        "Ray Tune + OptunaSearch, defaults": lambda trials: stock(trials, reuse=False),
        "Ray Tune + OptunaSearch, reused actors": lambda trials: stock(trials, reuse=True),
    }
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ray_session(ClusterSection()):
        for run in contenders.values():
            run(4)
        for _ in range(args.rounds):
            for name, run in contenders.items():
                samples[name].append(run(args.trials))
    figures = {name: summary(values) for name, values in samples.items()}
    base = next(iter(figures.values()))["median"]
    rows = [
        {"what": name, **figure, "ratio": round(figure["median"] / base, 2)}
        for name, figure in figures.items()
    ]
    keep("overhead", rows, folder=args.out, note=NOTE.format(**vars(args)))


if __name__ == "__main__":
    main()
