"""How soon the report of ten thousand trials is open in a browser, beside that of fifty.

    python -m experiments.benchmarks.opening

The runs are those of `experiments.benchmarks.loading`. A headless Chromium of the system opens each
page in a fresh context, in turn. `text` is the first paint of the page, `ready` the moment at which
all of it has been read and its script has run, `plot` that at which the first plot is drawn. Needs
Chromium and playwright (in the `dev` extra).
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.benchmarks.loading import fill
from experiments.benchmarks.record import keep, summary
from experiments.report.report import write_report
from tests.browser import browser

NOTE = (
    "Seconds from asking for the page to its first text, to all of it read and its script run, "
    "and to the first plot drawn; {trials} trials beside {few}, headless Chromium {version}, "
    "1100 x 900 px. `ratio` is the median over that of {few} trials. `write` is the work of "
    "`scaler report`."
)
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
READY = "performance.getEntriesByType('navigation')[0].loadEventEnd"


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--few", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
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
        note = NOTE.format(**vars(args), version=chromium.version)
    keep("opening", rows, folder=args.out, note=note)


if __name__ == "__main__":
    main()
