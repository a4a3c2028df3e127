"""Ten thousand no-op trials: does the engine get slower or fat?

    python -m experiments.benchmarks.many_trials
    python -m experiments.benchmarks.many_trials --alone
    python -m experiments.benchmarks.many_trials --deciding

`--alone` leaves Ray out: the searcher is asked and told as Tune does it, which is our own share of
the driver's work, proposal, cost, store, and all. Without it, the whole.

`--deciding` fills a study with random trials that asha stops, and goes on with `cost_aware`: what
the suggestion and the looks of early stopping, one after each epoch, take of the processor then.

One search with the random sampler (a model-based one takes longer the more it has seen), 2 workers.
Time, the driver's own processor time and its memory are looked at after every thousandth trial.
"""

import argparse
import json
import os
import random
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from experiments.benchmarks import keep, summary
from experiments.config.schema import SearchConfig
from experiments.config.search_section import EarlyStopping, SearchSection
from experiments.config.sections import ClusterSection
from experiments.engine.machines.cluster import ray_session
from experiments.engine.progress import Progress
from experiments.engine.searcher import StudySearcher
from experiments.store.trial import Trial

NOTE = (
    "{trials} no-op trials, random sampler, SQLite study, {how}. KiB a trial: the driver's growth "
    "after the first {every}; with n and range over the {every}s."
)
DECIDING = (
    "Processor seconds beside {trials} trials of up to {epochs} epochs in a SQLite study, most of "
    "them stopped by asha, without Ray. The first suggestion, which reads all, is left out."
)
PLACE = {"host": "here", "device": "cpu"}
TARGET = 3e6
EPOCHS = 9
MEASURED = 40  # trials


def resident() -> float:
    """KiB of this process in memory."""
    status = Path("/proc/self/status").read_text()
    return float(status.split("VmRSS:")[1].split()[0])


def run(folder: Path, *, trials: int, every: int) -> list[tuple[float, float, float]]:
    """(seconds, the driver's processor seconds, KiB) at the first trial, then `every` trials."""
    from experiments.steps.search import search

    marks: list[tuple[float, float, float]] = []
    ended = Progress.ended

    def watched(self: Progress, trial: Trial) -> None:
        ended(self, trial)
        if self.done == 1 or self.done % every == 0:
            marks.append((time.perf_counter(), time.process_time(), resident()))

    def evaluate(architecture: Any, *, report: Any, seed: int, checkpoint_dir: Path) -> float:  # noqa: ARG001
        return 0.5

    Progress.ended = watched  # type: ignore[method-assign]
    section = SearchSection(trials=trials, epochs=1, early_stopping=None, sampler="random")
    config = SearchConfig(confirmation=None, name="many", run=folder, search=section)
    try:
        search(config, evaluate=evaluate, num_classes=10, in_channels=3)
    finally:
        Progress.ended = ended  # type: ignore[method-assign]
    return marks


def searcher_of(
    folder: Path, *, sampler: str, trials: int, epochs: int, rule: EarlyStopping | None
) -> StudySearcher:
    """A searcher over what the folder's study holds, asked and told as Tune does it."""
    from experiments.engine.sampled import SampledCandidates
    from experiments.store.checkpoints import Checkpoints
    from experiments.store.store import Store
    from search_spaces.space import load_space

    folder.mkdir(exist_ok=True)
    store = Store(folder / "study.db")
    candidates = SampledCandidates(
        load_space("mbconv_small"),
        section=SearchSection(sampler=sampler, target=TARGET),
        seed=0,
        finished=store.trials("search"),
        num_classes=10,
        in_channels=3,
    )
    return StudySearcher(
        candidates,
        store=store,
        study="search",
        trials=trials,
        epochs=epochs,
        checkpoints=Checkpoints(folder / "checkpoints"),
        progress=Progress("search", total=trials),
        attributes={},
        early_stopping=rule,
    )


def run_alone(folder: Path, *, trials: int, every: int) -> list[tuple[float, float, float]]:
    """As `run`, without Ray."""
    searcher = searcher_of(folder, sampler="random", trials=trials, epochs=1, rule=None)
    marks = []
    for number in range(trials):
        searcher.suggest(str(number))
        searcher.told(str(number), {"accuracy": 0.5, "extra": {}, "seconds": 1.0, **PLACE})
        searcher.ended(str(number))
        if number == 0 or (number + 1) % every == 0:
            marks.append((time.perf_counter(), time.process_time(), resident()))
    assert searcher.error is None
    return marks


def decide(searcher: StudySearcher, number: int, *, epochs: int) -> tuple[float, list[float]]:
    """One trial: the processor seconds of its suggestion, and of each look of early stopping.

    Its accuracies are made up: they rise to a level that grows with the network's layers.
    """
    began = time.process_time()
    job = searcher.suggest(str(number))
    assert job is not None
    suggestion, looks = time.process_time() - began, []
    rng = random.Random(job.seed)
    layers = sum(stage.get("layers", 1) for stage in json.loads(job.architecture)["stages"])
    level = 0.9 - 1.5 / layers
    for epoch in range(1, epochs + 1):
        accuracy = level * (1 - 0.6**epoch) + rng.gauss(0.0, 0.01)
        told = {"epoch": epoch, "accuracy": accuracy, "figures": {}, "seconds": 1.0, **PLACE}
        began = time.process_time()
        stopped = searcher.stops(str(number), told)
        looks.append(time.process_time() - began)
        searcher.told(str(number), told)
        if stopped:
            break
    else:
        searcher.told(str(number), {"accuracy": accuracy, "extra": {}, "seconds": 1.0, **PLACE})
    searcher.ended(str(number))
    assert searcher.error is None
    return suggestion, looks


def deciding_rows(folder: Path, *, trials: int, measured: int) -> list[dict[str, Any]]:
    """What suggestions and looks take beside so many trials, by the rule of early stopping."""
    asha = EarlyStopping(kind="asha")
    filling = searcher_of(folder, sampler="random", trials=trials, epochs=EPOCHS, rule=asha)
    for number in range(trials):
        decide(filling, number, epochs=EPOCHS)
    rows: list[dict[str, Any]] = []
    for rule in (EarlyStopping(), asha):
        kind = {"sampler": "cost_aware", "early stopping": rule.kind}
        asked = measured + 1
        searcher = searcher_of(folder, sampler="cost_aware", trials=asked, epochs=EPOCHS, rule=rule)
        decide(searcher, 0, epochs=EPOCHS)  # the first reads all that is stored
        found = [decide(searcher, number, epochs=EPOCHS) for number in range(1, asked)]
        looks = [look for _, each in found for look in each]
        whole = [suggestion + sum(each) for suggestion, each in found]
        rows.append({**kind, "what": "a suggestion", **summary([one for one, _ in found])})
        rows.append({**kind, "what": "a look after an epoch", **summary(looks)})
        rows.append({**kind, "what": "a suggestion and all looks at it", **summary(whole)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=1_000)
    parser.add_argument("--warm", type=int, default=2_000, help="Trials of a run before it.")
    parser.add_argument("--alone", action="store_true", help="Our share of the work, without Ray.")
    parser.add_argument("--deciding", action="store_true", help="cost_aware and early stopping.")
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as scratch:
        folder, small = Path(scratch) / "many", Path(scratch) / "small"
        if args.deciding:
            rows = deciding_rows(folder, trials=args.trials, measured=MEASURED)
            note = DECIDING.format(trials=args.trials, epochs=EPOCHS)
            keep("many_trials_deciding", rows, folder=args.out, note=note)
            return
        if args.alone:
            run_alone(small, trials=2_000, every=1_000)  # the cost of each layer is traced once
            marks = run_alone(folder, trials=args.trials, every=args.every)
        else:
            with ray_session(ClusterSection(workers=2)):
                run(small, trials=args.warm, every=args.warm)
                marks = run(folder, trials=args.trials, every=args.every)
        laps = [
            [late - early for early, late in zip(before, after, strict=True)]
            for before, after in pairwise(marks)
        ]
        rows = []
        for part, what in ((0, "seconds"), (1, "the driver's processor seconds")):
            taken = [lap[part] for lap in laps]
            rows.append({"what": f"{what}, {args.every} trials", **summary(taken)})
            rows.append({"what": f"{what}, the first {args.every}", "median": round(taken[0], 2)})
            rows.append({"what": f"{what}, the last {args.every}", "median": round(taken[-1], 2)})
            ratio = round(taken[-1] / taken[0], 3)
            rows.append({"what": f"{what}, ratio of the last to the first", "median": ratio})
        later = [lap[2] / args.every for lap in laps[1:]]
        rows.append({"what": "KiB a trial", **summary(later)})
        rows.append({"what": "MiB of the driver at the end", "median": round(marks[-1][2] / 1024)})
        size = (folder / "study.db").stat().st_size / 1024 / args.trials
        rows.append({"what": "KiB of study.db a trial", "median": round(size, 1)})
    how = "the searcher asked and told without Ray" if args.alone else "2 workers"
    name = "many_trials_alone" if args.alone else "many_trials"
    keep(name, rows, folder=args.out, note=NOTE.format(**vars(args), how=how))


if __name__ == "__main__":
    main()
