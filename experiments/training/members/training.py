"""One network's full training, epoch by epoch, wherever it runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData
from experiments.training.checkpoint import checkpoint_bytes
from experiments.training.device import choose_device
from experiments.training.loop import EpochResult, TrainingState, evaluate, train_epochs
from experiments.training.metadata import checkpoint_metadata
from experiments.training.trial import Pace, state_bytes
from search_spaces.architecture import Architecture
from search_spaces.network import Network, build_network


@dataclass(frozen=True)
class Epoch:
    """What an epoch left: a row of figures, and what is to be kept of the weights, as bytes."""

    row: dict[str, float]
    best: bytes | None = None  # a checkpoint, where the accuracy is the highest so far
    state: bytes | None = None  # what the training would go on from


@dataclass(frozen=True, eq=False)
class MemberTraining:
    """A network, its data and its recipe. `initial` are the weights to begin with, by name.

    Of the network the stem and the first `frozen` stages keep their weights; None: all learn.
    """

    architecture: Architecture
    data: ImageData
    data_config: DataConfig
    config: TrainConfig
    epochs: int
    seed: int
    threads: int
    initial: dict[str, Tensor] = field(default_factory=dict)
    frozen: int | None = None

    def run(
        self,
        keep: Callable[[Epoch], None],
        *,
        state: TrainingState | None = None,
        rank: int = 0,
        workers: int = 1,
    ) -> None:
        """Train on from `state`, handing each epoch to `keep`.

        Of several `workers` only the first one keeps anything.
        """
        torch.set_num_threads(self.threads)
        network = self.network()
        results = train_epochs(
            network,
            self.data,
            config=self.config,
            epochs=self.epochs,
            resolution=self.architecture.resolution,
            augmentation=self.data_config.varied(self.config.augmentation),
            seed=self.seed,
            device=self.config.device,
            state=state,
            rank=rank,
            workers=workers,
        )
        best = max(state.accuracies, default=-1.0) if state else -1.0
        pace = Pace()
        for result in results:
            if rank:
                continue
            began = time.perf_counter()
            checkpoint = None
            if result.accuracy > best:
                best = result.accuracy
                checkpoint = self.checkpoint(result.network, epoch=result.epoch, accuracy=best)
            due = pace.due(result.seconds) or result.epoch == self.epochs
            left = state_bytes(result.state()) if due else None
            keep(Epoch(_row(result), checkpoint, left))
            if due:
                pace.saved(time.perf_counter() - began)

    def network(self) -> Network:
        """As it begins: initialised from the seed, with the weights that are given."""
        torch.manual_seed(self.seed)
        network = build_network(
            self.architecture, num_classes=self.data.num_classes, in_channels=self.data.channels
        )
        network.load_state_dict(self.initial, strict=False)
        if self.frozen is not None:
            for part in (network.stem, *network.stages[: self.frozen]):
                part.requires_grad_(False)
        return network

    def checkpoint(self, network: nn.Module, **facts: Any) -> bytes:
        """`network` with all that is known of it."""
        return checkpoint_bytes(
            network,
            metadata=checkpoint_metadata(
                self.architecture,
                self.data,
                train=self.config,
                epochs=self.epochs,
                seed=self.seed,
                **facts,
            ),
        )

    def test(self, network: nn.Module) -> float:
        """Accuracy on the test part, on the device that the recipe names."""
        network.to(choose_device(self.config.device))
        resolution = self.architecture.resolution
        return evaluate(network, self.data.test, data=self.data, resolution=resolution)


def _row(result: EpochResult) -> dict[str, float]:
    return {
        "epoch": result.epoch,
        "train_loss": result.train_loss,
        "train_accuracy": result.train_accuracy,
        "accuracy": result.accuracy,
        "seconds": round(result.seconds, 3),
        **{f"gradient_norm.{name}": norm for name, norm in result.gradient_norms.items()},
    }
