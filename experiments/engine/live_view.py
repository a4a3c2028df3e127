"""A few lines at the foot of the terminal that show how a study goes on."""

import sys

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from experiments.config.units import readable_count, readable_seconds
from experiments.engine.progress import Progress

MOST_RUNNING = 4  # trials whose epochs are shown; a cluster runs more than a screen takes


class LiveView:
    """Redraws itself, so that the clock runs on; what is printed meanwhile appears above it.

    Colours stay away where NO_COLOR is set.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._live = Live(
            get_renderable=self.lines,
            console=Console(stderr=True, highlight=False),
            refresh_per_second=4,
            transient=True,  # the summary says what there is to keep
            redirect_stdout=sys.stdout.isatty(),
        )

    def start(self) -> None:
        """Show the view, and redraw it from now on."""
        self._live.start(refresh=True)

    def stop(self) -> None:
        """Leave the last view on the screen."""
        self._live.stop()

    def lines(self) -> RenderableType:
        """The bar with the time left, the counts, the best so far, what is running."""
        progress = self._progress
        left = progress.seconds_left()
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text(progress.study, style="bold"),
            ProgressBar(total=progress.total, completed=progress.done, width=24),
            f"{progress.done}/{progress.total}",
            "starting" if left is None else f"{readable_seconds(left)} left",
        )
        rows: list[RenderableType] = [head, self._counts()]
        if progress.best is not None:
            best = progress.best
            flops = f"{readable_count(best.flops)}FLOPs"
            rows.append(
                f"best {best.value:.4f}: {best.label}, accuracy {best.accuracy:.4f}, {flops}"
            )
        rows += [
            Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in self._epochs()
        ]
        return Group(*rows)

    def _counts(self) -> Text:
        counts = self._progress.counts
        screened = sum(self._progress.screened_by.values())
        resting = len(self._progress.resting)
        parts = [
            (f"{len(self._progress.running)} running", ""),
            *([(f"{resting} resting", "yellow")] if resting else []),
            (f"{counts['complete']} done", "green"),
            (f"{counts['pruned']} stopped", "yellow"),
            (f"{counts['fail']} failed", "red" if counts["fail"] else ""),
            (f"{screened} screened out", ""),
        ]
        text = Text("  ", no_wrap=True, overflow="ellipsis").join(
            Text(p, style=s) for p, s in parts
        )
        return text

    def _epochs(self) -> list[str]:
        """`epoch 3 of 9, accuracy 0.8123` of the trials that were begun last."""
        told = [(e, a) for e, a in self._progress.running.values() if a is not None]
        of = f" of {self._progress.epochs}" if self._progress.epochs else ""
        return [f"running: epoch {e}{of}, accuracy {a:.4f}" for e, a in told[-MOST_RUNNING:]]
