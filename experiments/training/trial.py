"""The form of an evaluation, and the built-in one: it trains, and reports after each epoch."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import save
from torch import Tensor

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData
from experiments.training.checkpoint import (
    TrainedEpoch,
    TrainingState,
    load_tensors,
    plain_tensors,
    read_state,
    save_checkpoint,
    write_state,
    write_whole,
)
from experiments.training.detection import SURE
from experiments.training.members.transfer import initial_weights
from experiments.training.quantised import JudgedIn
from experiments.training.training import Best, Pace, Training
from search_spaces.architecture import Architecture


class Report(Protocol):
    """Reports the accuracy after an epoch (from 1), and further figures such as `train_loss`."""

    def __call__(
        self, epoch: int, accuracy: float, figures: Mapping[str, float] | None = None, /
    ) -> None: ...


class Evaluate(Protocol):
    """The user's evaluation: trains `architecture` and returns its accuracy.

    It calls `report(epoch, accuracy)` after each epoch, and may be stopped there. Instead of a
    number it may return a mapping with `accuracy` and further figures, which are kept with it. If
    the search space has `training:` choices, they are passed as `training`.

    `checkpoint_dir` is an empty folder on the worker's own disk. At each report its files are sent
    to the driver, which keeps them. A trial that is continued, on this machine or another, finds
    them there again and goes on after the epoch of that report. The files at the end are put into
    the run folder, under checkpoints/.
    """

    def __call__(
        self, architecture: Architecture, *, report: Report, seed: int, checkpoint_dir: Path
    ) -> float | Mapping[str, float]: ...


# File names in the checkpoint folder, while the training runs.
STATE = "training.safetensors"
BEST = "best.safetensors"
SHEET = "sheet.png"  # at the end of a final training


@dataclass(frozen=True)
class TrainingEvaluation:
    """An `Evaluate` that trains on image data.

    It goes on from the state that it finds in its checkpoint folder, bit for bit on a CPU. A
    `final` training keeps the weights of the best epoch, and tests them once on the test part; its
    accuracy is that epoch's. It writes a table of the classes and a sheet of images. With
    `by_class` alone it writes the table for the validation part.
    """

    data: ImageData
    data_config: DataConfig
    train_config: TrainConfig
    epochs: int
    threads: int = 1
    final: bool = False
    by_class: bool = False
    start: bytes | None = None  # a checkpoint whose weights the training begins with
    judged_in: JudgedIn = "float32"  # not for a final training, whose network is kept in float
    save_after: frozenset[int] = frozenset()  # epochs at which the trial may pause, to go on later

    def __call__(
        self,
        architecture: Architecture,
        *,
        report: Report,
        seed: int,
        checkpoint_dir: Path,
        training: Mapping[str, Any] | None = None,
    ) -> dict[str, float]:
        """Train `architecture`; return `accuracy` and the other figures of the end."""
        own = Training(
            architecture=architecture,
            data=self.data,
            data_config=self.data_config,
            config=self.train_config.replace(**training or {}),
            epochs=self.epochs,
            seed=seed,
            threads=self.threads,
            initial=self._initial(architecture, seed),
            judged_in="float32" if self.final else self.judged_in,
        )
        kept = _Kept(checkpoint_dir, weights=self.final)
        result, parts = self._trained(own, report, kept)
        figures = {"accuracy": result.accuracy}
        if self.final:
            best = kept.best
            if best.epoch != result.epoch:
                result.network.load_state_dict(kept.weights)
            figures["accuracy"] = best.accuracy
            sheet = checkpoint_dir / SHEET
            chosen = own.best_score(result.network)
            score = chosen.get("score", SURE)
            judged = own.judged(result.network, checkpoint_dir, sheet=sheet, score=score)
            figures["test_accuracy"] = judged.value
            save_checkpoint(
                checkpoint_dir / "weights.safetensors",
                result.network,
                metadata=own.metadata(epoch=best.epoch, **figures, **chosen),
            )
        elif self.by_class:
            own.judged(result.network, checkpoint_dir, part="validation")
        if parts > 1:  # memory ran out: into how many parts a batch was cut
            figures["batch_parts"] = float(parts)
        return figures

    def _initial(self, architecture: Architecture, seed: int) -> dict[str, Tensor]:
        """The weights of `start` over those that the seed initialises; none without `start`."""
        if self.start is None:
            return {}
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "start.safetensors"
            path.write_bytes(self.start)
            return initial_weights(
                path,
                architecture,
                classes=self.data.classes,
                in_channels=self.data.channels,
                seed=seed,
            ).weights

    def _trained(
        self, training: Training, report: Report, kept: "_Kept"
    ) -> tuple[TrainedEpoch, int]:
        """The last epoch's result, and into how many parts a batch was cut at most."""
        result: TrainedEpoch | None = None
        pace, parts = Pace(), 1
        for result in training.run(state=kept.read()):
            parts = max(parts, result.parts)
            began = time.perf_counter()
            kept.look(result)
            due = pace.due(result.seconds) or result.epoch in self.save_after
            due = due and result.epoch < self.epochs  # nothing goes on after the last one
            if due:
                kept.write(result)
            report(result.epoch, result.accuracy, result.figures)
            if due:
                pace.saved(time.perf_counter() - began)
        assert result is not None, "no state is written after the last epoch"
        kept.clear()
        return result, parts


class _Kept:
    """A trial's state in its checkpoint folder; with `weights`, also the best epoch's weights.

    The state has the weights of its own epoch. The best epoch's are kept beside it only if that is
    another epoch, as the folder is sent to the driver.
    """

    def __init__(self, folder: Path, *, weights: bool) -> None:
        self._state, self._best = folder / STATE, folder / BEST
        self._wanted = weights
        self.best = Best()
        self.weights: dict[str, Tensor] = {}

    def read(self) -> TrainingState | None:
        """The state that an earlier worker left; None if there is none."""
        if not self._state.is_file():
            return None
        state = read_state(self._state)
        if self._wanted:
            self.best = Best.of(state.accuracies)
            if self._best.is_file():
                self.weights = load_tensors(self._best)
            else:  # those of the state's own epoch: an earlier version kept no others
                self.best = Best(state.epoch, state.accuracies[-1])
                self.weights = state.average or state.weights
        return state

    def look(self, result: TrainedEpoch) -> None:
        """Keep the weights of an epoch that is the best so far."""
        if self._wanted and self.best.improves(result.epoch, result.accuracy):
            self.weights = plain_tensors(result.network.state_dict())
            self._best.unlink(missing_ok=True)

    def write(self, result: TrainedEpoch) -> None:
        """Write the state from which the training goes on after this epoch."""
        write_state(self._state, result.state())
        if self._wanted and self.best.epoch != result.epoch and not self._best.is_file():
            write_whole(self._best, save(self.weights))

    def clear(self) -> None:
        """Remove the state: nothing goes on after the last epoch."""
        for path in (self._state, self._best):
            path.unlink(missing_ok=True)
