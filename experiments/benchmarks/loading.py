"""How soon ten thousand trials are a table, and how soon their report is open in a browser.

    python -m experiments.benchmarks.loading table
    python -m experiments.benchmarks.loading page

The trials are networks of `mbconv_small` with made-up outcomes of three epochs, each written to a
run folder as the engine writes them. `load_trials` runs in a process of its own, after a small run
has paid for the imports. What it reads from is compared with `study.get_trials()`, trial by trial.

A headless Chromium of the system opens each page in a fresh context, in turn. `text` is the first
paint of the page, `ready` the moment at which all of it has been read and its script has run,
`plot` that at which the first plot is drawn. Needs Chromium and playwright (in the `dev` extra).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna

from experiments.benchmarks import keep, summary
from experiments.benchmarks.parts.told_epochs import told_epochs
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.config.search_section import SearchSection
from experiments.engine.sampled import SampledCandidates
from experiments.report.report import write_report
from experiments.store.store import Store, reading
from experiments.store.trial import End, Trial
from search_spaces.space import load_space
from tests.browser import browser

NOTE = (
    "Seconds to read {trials} stored trials; `load_trials` gives the whole frame, Optuna a list of "
    "trials, equal to what we read. Processor seconds too, since other work ran beside. `ratio` is "
    "the median over the first row's."
)
PAGE_NOTE = (
    "Seconds from asking for the page to its first text, to all of it read and its script run, "
    "and to the first plot drawn; {trials} trials beside {few}, headless Chromium {version}, "
    "1100 x 900 px. `ratio` is the median over that of {few} trials. `write` is the work of "
    "`scaler report`."
)
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
READY = "performance.getEntriesByType('navigation')[0].loadEventEnd"
LOAD = """
import sys, time
from experiments import load_trials
load_trials(sys.argv[2])
for _ in range(int(sys.argv[3])):
    began, worked = time.perf_counter(), time.process_time()
    trials = load_trials(sys.argv[1])
    print(time.perf_counter() - began, time.process_time() - worked, len(trials))
"""


def fill(path: Path, trials: int) -> RunFolder:
    """A run folder of `trials` trials; every third was stopped early."""
    folder = RunFolder.check(SearchConfig(name="many", run=path), set())
    folder.write_config()
    store = Store(folder.study)
    source = SampledCandidates(
        load_space("mbconv_small"),
        section=SearchSection(sampler="random"),
        seed=0,
        finished=[],
        num_classes=10,
        in_channels=3,
    )
    for number in range(trials):
        candidate = source.next()
        assert candidate is not None
        curve = tuple(number % 97 / 97 * epoch / 3 for epoch in (1, 2, 3))
        pruned = number % 3 == 0
        epochs = told_epochs(curve[: 3 - 2 * pruned])
        trial = Trial(candidate, host="here", device="cpu", epochs=epochs)
        state: End = "pruned" if pruned else "complete"
        frozen = trial.ended(state, curve[-1], seconds=1.0).frozen()
        store.record("search", frozen, suggestion=number)
        source.tell(candidate, frozen)
    store.finish()
    return folder


def load_seconds(
    run: Path, small: Path, *, trials: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Wall and processor seconds of each round."""
    command = [sys.executable, "-c", LOAD, str(run), str(small), str(rounds)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in text.splitlines()]
    assert [int(count) for *_, count in rows] == [trials] * rounds
    return [float(wall) for wall, _, _ in rows], [float(worked) for _, worked, _ in rows]


def list_seconds(folder: RunFolder) -> tuple[float, float]:
    """Processor seconds of ours and of Optuna's list of trials; raises where the two differ."""
    began = time.process_time()
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{folder.study}")
    theirs = study.get_trials()
    between = time.process_time()
    with reading(folder) as snapshot:
        ours = snapshot.trials("search")
    ended = time.process_time()
    assert ours == theirs
    with reading(folder) as snapshot:
        light = [row.attributes for row in snapshot.rows("search")]
    assert light == [trial.user_attrs for trial in theirs]
    return ended - between, between - began


def opened(chromium: Any, path: Path) -> dict[str, float]:
    """Seconds of one opening."""
    context = chromium.new_context(viewport={"width": 1100, "height": 900})
    try:
        page = context.new_page()
        began = time.perf_counter()
        page.goto(path.as_uri(), wait_until="load")
        page.wait_for_selector(".plot .main-svg")
        plot = time.perf_counter() - began
        text, ready = (page.evaluate(what) / 1e3 for what in (PAINT, READY))
        return {"text": text, "ready": ready, "plot": plot}
    finally:
        context.close()


def measure_table(args: argparse.Namespace) -> None:
    """Keep the seconds until the trials are a frame, and a list."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        small, run = Path(scratch) / "small", Path(scratch) / "many"
        fill(small, 50)
        folder = fill(run, args.trials)
        wall, worked = load_seconds(run, small, trials=args.trials, rounds=args.rounds)
        ours, theirs = list_seconds(folder)
        size = folder.study.stat().st_size / 1024 / args.trials
    figures = {
        "load_trials, the whole frame, processor": summary(worked),
        "load_trials, the whole frame, wall": summary(wall),
        "the list of trials, ours, processor": summary([ours]),
        "the list of trials, study.get_trials(), processor": summary([theirs]),
    }
    base = next(iter(figures.values()))["median"]
    rows = [
        {"what": what, **figure, "ratio": round(figure["median"] / base, 1)}
        for what, figure in figures.items()
    ]
    note = NOTE.format(**vars(args)) + f" The file takes {size:.1f} KiB a trial."
    keep("loading", rows, folder=args.out, note=note)


def measure_page(args: argparse.Namespace) -> None:
    """Keep the seconds until the report of many trials is open, beside that of a few."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, browser() as chromium:
        pages, written = {}, {}
        for trials in (args.few, args.trials):
            folder = fill(Path(scratch) / str(trials), trials)
            began = time.perf_counter()
            pages[trials] = write_report(folder)
            written[trials] = time.perf_counter() - began
        samples: dict[int, list[dict[str, float]]] = {trials: [] for trials in pages}
        for _ in range(args.rounds):
            for trials, path in pages.items():
                samples[trials].append(opened(chromium, path))
        for trials, taken in samples.items():
            for what in ("text", "ready", "plot"):
                figure = summary([one[what] for one in taken])
                base = summary([one[what] for one in samples[args.few]])["median"]
                ratio = round(figure["median"] / base, 2)
                rows.append({"what": f"{what}, {trials} trials", **figure, "ratio": ratio})
            ratio = round(written[trials] / written[args.few], 2)
            took = summary([written[trials]])
            rows.append({"what": f"write, {trials} trials", **took, "ratio": ratio})
            size = pages[trials].stat().st_size / 2**20
            rows.append({"what": f"MiB of the page, {trials} trials", "median": round(size, 2)})
        note = PAGE_NOTE.format(**vars(args), version=chromium.version)
    keep("opening", rows, folder=args.out, note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=["table", "page"])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--few", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    {"table": measure_table, "page": measure_page}[args.what](args)


if __name__ == "__main__":
    main()
