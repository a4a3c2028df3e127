"""How much of the workers' time is trial work: 2 workers, trials of 2 seconds.

    python -m experiments.benchmarks.utilisation

A trial sleeps for 2 s, in one epoch or in four with a report and a checkpoint each. Utilisation is
trials * 2 s over workers * wall time, from the first trial's start to the last one's end.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.benchmarks.record import keep, summary
from experiments.config.schema import SearchConfig, SearchSection
from experiments.config.sections import ClusterSection
from experiments.engine.cluster import ray_session

NOTE = "Share of the time of 2 workers that is trial work, {trials} trials of 2 s, {rounds} rounds."
SECONDS = 2.0
WORKERS = 2


def share(trials: int, *, epochs: int, folder: Path) -> float:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    kinds = {"one report": 1, "four reports with a checkpoint of 200 kB each": 4}
    samples: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder, ray_session(ClusterSection(workers=WORKERS)):
        share(4, epochs=1, folder=Path(folder))
        for _ in range(args.rounds):
            for kind, epochs in kinds.items():
                samples[kind].append(share(args.trials, epochs=epochs, folder=Path(folder)))
    rows = [{"what": kind, **summary(values)} for kind, values in samples.items()]
    keep("utilisation", rows, folder=args.out, note=NOTE.format(**vars(args)))


if __name__ == "__main__":
    main()
