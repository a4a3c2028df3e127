"""The form of an evaluation, and the built-in one: it trains, and reports after each epoch."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData
from experiments.training.checkpoint import read_state, save_checkpoint, write_state
from experiments.training.loop import EpochResult
from experiments.training.training import Pace, Training
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


STATE = "training.safetensors"  # within the checkpoint folder, while the training runs


@dataclass(frozen=True)
class TrainingEvaluation:
    """An `Evaluate` that trains on image data.

    It goes on from the state that it finds in its checkpoint folder, bit for bit on a CPU. A
    `final` training also looks at the test part, once, and keeps the weights.
    """

    data: ImageData
    data_config: DataConfig
    train_config: TrainConfig
    epochs: int
    threads: int = 1
    final: bool = False
    save_after: frozenset[int] = frozenset()  # epochs at which the trial may rest, to go on later

    def __call__(
        self,
        architecture: Architecture,
        *,
        report: Report,
        seed: int,
        checkpoint_dir: Path,
        training: Mapping[str, Any] | None = None,
    ) -> dict[str, float]:
        """Train `architecture`; return `accuracy`, and what else is known at the end."""
        own = Training(
            architecture=architecture,
            data=self.data,
            data_config=self.data_config,
            config=self.train_config.replace(**training or {}),
            epochs=self.epochs,
            seed=seed,
            threads=self.threads,
        )
        result, parts = self._trained(own, report, checkpoint_dir / STATE)
        figures = {"accuracy": result.accuracy}
        if self.final:
            figures["test_accuracy"] = own.test(result.network)
            save_checkpoint(
                checkpoint_dir / "weights.safetensors",
                result.network,
                metadata=own.metadata(**figures),
            )
        if parts > 1:  # memory ran out: into how many parts a batch was cut
            figures["batch_parts"] = float(parts)
        return figures

    def _trained(self, training: Training, report: Report, saved: Path) -> tuple[EpochResult, int]:
        """The last epoch's result, and into how many parts a batch was cut at most."""
        state = read_state(saved) if saved.is_file() else None
        result: EpochResult | None = None
        pace, parts = Pace(), 1
        for result in training.run(state=state):
            parts = max(parts, result.parts)
            began = time.perf_counter()
            due = pace.due(result.seconds) or result.epoch in self.save_after
            due = due and result.epoch < self.epochs  # after the last one nothing goes on
            if due:
                write_state(saved, result.state())
            report(result.epoch, result.accuracy, result.figures)
            if due:
                pace.saved(time.perf_counter() - began)
        assert result is not None, "no state is written after the last epoch"
        saved.unlink(missing_ok=True)
        return result, parts
