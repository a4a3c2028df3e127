"""What one epoch of a training left."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from experiments.training.checkpoint import TrainingState


@dataclass(frozen=True)
class TrainedEpoch:
    """What an epoch left, and the means to keep it."""

    epoch: int  # from 1
    train_loss: float  # mean over the epoch's steps, with label smoothing
    # On the augmented images of the same steps, in train mode; None where boxes are found.
    train_accuracy: float | None
    accuracy: float  # the metric's value on the validation part, in [0, 1]
    seconds: float  # wall time of this epoch with its evaluation
    gradient_norms: dict[str, float]  # at its first step; empty unless asked for
    parts: int  # of a batch; more than 1 where memory ran out
    state: Callable[[], TrainingState] = field(repr=False, compare=False)  # before the next epoch
    network: nn.Module = field(repr=False, compare=False)  # whose accuracy this is

    @property
    def figures(self) -> dict[str, float]:
        """What is told and kept of an epoch beside its accuracy and time."""
        own = {"train_loss": self.train_loss}
        if self.train_accuracy is not None:
            own["train_accuracy"] = self.train_accuracy
        return {**own, **self.gradient_norms}
