"""The form of an evaluation, built-in or the user's own: what it is given and what it tells."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from search_spaces.architecture import Architecture


class Report(Protocol):
    """Tells the accuracy after an epoch, counted from 1, and further figures, as `train_loss`."""

    def __call__(
        self, epoch: int, accuracy: float, figures: Mapping[str, float] | None = None, /
    ) -> None: ...


class Evaluate(Protocol):
    """The user's evaluation: trains `architecture` and returns its accuracy.

    It calls `report(epoch, accuracy)` after each epoch, and may be stopped there. Instead of a
    number it may return a mapping with `accuracy` and further figures, which are kept with it.
    Where the search space has `training:` choices it is also called with `training`, what they are.

    `checkpoint_dir` is an empty folder on the worker's own disk. What lies in it at a report
    travels to the driver, which keeps it; a trial that is taken up again, on this machine or
    another, finds it there again and goes on after the epoch of that report. What lies in it at
    the end is put into the run folder, under checkpoints/.
    """

    def __call__(
        self, architecture: Architecture, *, report: Report, seed: int, checkpoint_dir: Path
    ) -> float | Mapping[str, float]: ...
