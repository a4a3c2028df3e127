"""How a study goes on: counts, the best so far, the time left; told as it happens."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from optuna.trial import FrozenTrial
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from experiments.config import messages
from experiments.config.units import readable_cost, readable_count, readable_seconds
from experiments.store.trial import Candidate, EpochResult, Trial, best_complete

# why a candidate is thrown back -> in words
SCREENED = {
    "outside": "outside the limits",
    "slow": "slower than max_latency",
    "unreached": "cannot be scaled to the target",
    "repeated": "already tried",
    "unfit": "parts that do not fit",
}


def screened_text(screened: Mapping[str, int]) -> str:
    """`30 screened out before training (12 outside the limits, 18 already tried)`."""
    if not any(screened.values()):
        return ""
    counts = {words: screened.get(reason, 0) for reason, words in SCREENED.items()}
    reasons = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    return f"{sum(screened.values())} screened out before training ({reasons})"


@dataclass(frozen=True)
class BestTrial:
    """The finished trial of highest value (the reward, or the accuracy where all costs count)."""

    value: float
    label: str
    accuracy: float
    flops: int


class Progress:
    """What the driver tells of its trials: a live view, a line a trial, or an event a line.

    A context manager around the work: the live view is there as long.
    """

    def __init__(
        self,
        study: str,
        *,
        total: int,
        done: int = 0,
        epochs: int | None = None,
        metric: str = "accuracy",
    ) -> None:
        self.study = study
        self.metric = metric  # what people call it
        self.total = total
        self.screened_by: Mapping[str, int] = {}  # by the reason
        self.best: BestTrial | None = None
        self.done = self._before = done
        self.counts = {"complete": 0, "pruned": 0, "fail": 0}
        self._earlier = dict(self.counts)
        self.running: dict[int, tuple[int, float | None]] = {}  # suggestion -> (epoch, accuracy)
        self.resting: set[int] = set()  # suggestions that early stopping may still promote
        self.epochs = epochs  # of a trial that is not stopped
        self._began = time.monotonic()
        self._first: float | None = None  # when the first trial was on a worker
        self._estimate: tuple[float, float] | None = None  # (when it was made, seconds left)
        self._view: LiveView | None = None

    def __enter__(self) -> Self:
        screened = dict(self.screened_by)
        messages.event(
            "study_started",
            study=self.study,
            total=self.total,
            done=self.done,
            epochs=self.epochs,
            screened_out=screened,
        )
        if messages.shows_live_view():
            self._view = LiveView(self)
            self._view.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._view is not None:
            self._view.stop()
            self._view = None

    def go_on(self, ended: list[FrozenTrial]) -> None:
        """Count what an earlier command has in the store."""
        for trial in ended:
            self.counts[trial.state.name.lower()] += 1
        self._earlier = dict(self.counts)
        best = best_complete(ended)
        if best is not None and best.value is not None:
            attributes = best.user_attrs
            label = attributes.get("label", f"#{best.number}")
            self.best = BestTrial(best.value, label, attributes["accuracy"], attributes["flops"])

    def started(self, candidate: Candidate) -> None:
        """A worker has begun with it, for the first time or again."""
        self._first = self._first or time.monotonic()
        self.resting.discard(candidate.suggestion)
        self.running[candidate.suggestion] = (0, None)
        self._tell("trial_started", candidate, seed=candidate.seed, flops=candidate.cost.flops)

    def told(self, candidate: Candidate, epoch: EpochResult) -> None:
        """An epoch of a running trial."""
        self.running[candidate.suggestion] = (epoch.epoch, epoch.accuracy)
        self._estimated()
        self._tell("epoch", candidate, epoch=epoch.epoch, accuracy=epoch.accuracy)

    def lost(self, candidate: Candidate) -> None:
        """Its worker is gone; another will go on with it."""
        self.running.pop(candidate.suggestion, None)
        self._tell("trial_lost", candidate)

    def rested(self, candidate: Candidate) -> None:
        """It waits at a rung of early stopping."""
        epoch, accuracy = self.running.pop(candidate.suggestion)
        self.resting.add(candidate.suggestion)
        self._tell("trial_rested", candidate, epoch=epoch, accuracy=accuracy)

    def ended(self, trial: Trial) -> None:
        """It is over and stored."""
        candidate, value = trial.candidate, trial.reward
        label = candidate.attributes.get("label", f"#{self.done}")  # the trial's number
        self.running.pop(candidate.suggestion, None)
        self.resting.discard(candidate.suggestion)
        self.done += 1
        self.counts[trial.state] += 1
        better = self.best is None or (value is not None and value > self.best.value)
        if trial.state == "complete" and value is not None and better:
            assert trial.accuracy is not None
            self.best = BestTrial(value, label, trial.accuracy, candidate.cost.flops)
        self._estimated()
        quiet = self._view is not None and trial.state != "fail"  # the view shows what it needs
        self._tell(
            "trial_ended",
            candidate,
            line=None if quiet else self._line(label, trial),
            label=label,
            state=trial.state,
            reason=trial.reason,
            accuracy=trial.accuracy,
            reward=value,
            flops=candidate.cost.flops,
            latency=candidate.attributes.get("latency"),
            seconds=round(trial.seconds, 3),
            done=self.done,
            total=self.total,
            best=None if self.best is None else self.best.value,
            seconds_left=round(self.seconds_left() or 0.0, 1),
        )

    def warn(self, line: str) -> None:
        """One line in the log, which begins with the study's name."""
        messages.event("warning", line=f"{self.study}: {line}", study=self.study, text=line)

    def summary(self) -> None:
        """The last line of a study: how many trials ended how, and how long it took."""
        own = {state: number - self._earlier[state] for state, number in self.counts.items()}
        counts = ", ".join(f"{number} {state}" for state, number in own.items() if number)
        screened = screened_text(self.screened_by)
        seconds = time.monotonic() - self._began
        took = readable_seconds(seconds)
        parts = [f"{counts or 'nothing left to do'} in {took}", *([screened] if screened else [])]
        messages.event(
            "study_ended",
            line=f"{self.study}: {'; '.join(parts)}",
            study=self.study,
            **own,
            screened_out=dict(self.screened_by),
            seconds=round(seconds, 3),
        )

    def seconds_left(self) -> float | None:
        """None until something is known; a part of a running trial counts by its epochs."""
        if self._estimate is None:
            return None
        made, left = self._estimate
        return max(0.0, left - (time.monotonic() - made))

    def _estimated(self) -> None:
        now = time.monotonic()
        epochs = self.epochs or 1
        under_way = sum(min(1.0, epoch / epochs) for epoch, _ in self.running.values())
        ended = self.done - self._before + len(self.resting)  # most that rest are not promoted
        worked = ended + (under_way if self.epochs else 0.0)
        if worked:
            left = max(0.0, self.total - self._before - worked)
            self._estimate = (now, (now - (self._first or self._began)) / worked * left)

    def _line(self, label: str, trial: Trial) -> str:
        candidate = trial.candidate
        parts = [f"{label} {trial.state}"]
        if trial.accuracy is not None:
            parts.append(f"{self.metric} {trial.accuracy:.4f}")
        parts.append(f"{readable_count(candidate.cost.flops)}FLOPs")
        if "latency" in candidate.attributes:
            parts.append(readable_cost("latency", candidate.attributes["latency"]))
        parts.append(f"{trial.seconds:.1f} s")
        if trial.state == "fail":
            parts.append(trial.reason)
        if self.best is not None:
            parts.append(f"best {self.best.value:.4f}")
        parts.append(f"{readable_seconds(self.seconds_left() or 0.0)} left")
        width = len(str(self.total))
        return f"{self.study} {self.done:>{width}}/{self.total}  " + "  ".join(parts)

    def _tell(
        self, event: str, candidate: Candidate, *, line: str | None = None, **fields: Any
    ) -> None:
        where = {"study": self.study, "suggestion": candidate.suggestion}
        messages.event(event, line=line, **where, **fields)


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
                f"best {best.value:.4f}: {best.label}, {progress.metric} {best.accuracy:.4f}, "
                f"{flops}"
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
        metric = self._progress.metric
        return [f"running: epoch {e}{of}, {metric} {a:.4f}" for e, a in told[-MOST_RUNNING:]]
