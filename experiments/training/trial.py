"""The built-in evaluation: trains an architecture on a data set, one report an epoch."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData
from experiments.training.checkpoint import (
    load_state,
    pack_state,
    save_checkpoint,
    write_bytes,
)
from experiments.training.evaluate import Report
from experiments.training.loop import EpochResult, TrainingState, evaluate, train_epochs
from experiments.training.metadata import checkpoint_metadata
from search_spaces.architecture import Architecture
from search_spaces.network import build_network

STATE = "training.safetensors"  # within the checkpoint folder, while the training runs
_FACTS = ("epoch", "parts", "updates", "accuracies", "channels_last", "loss_scale")
MOST_SAVING = 0.1  # of the time of the training


@dataclass(frozen=True)
class TrainingEvaluation:
    """An `Evaluate` (see experiments.training.evaluate) over image data held in memory.

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
        torch.set_num_threads(self.threads)
        torch.manual_seed(seed)
        network = build_network(
            architecture, num_classes=self.data.num_classes, in_channels=self.data.channels
        )
        saved = checkpoint_dir / STATE
        state = read_state(saved) if saved.is_file() else None
        figures: dict[str, float] = {}
        accuracy = 0.0
        evaluated: nn.Module = network
        pace = Pace()
        for result in train_epochs(
            network,
            self.data,
            config=self.train_config.replace(**training or {}),
            epochs=self.epochs,
            resolution=architecture.resolution,
            augmentation=self.data_config.varied(self.train_config.augmentation),
            seed=seed,
            device=self.train_config.device,
            state=state,
        ):
            accuracy, evaluated = result.accuracy, result.network
            if result.parts > 1:  # memory ran out: into how many parts a batch was cut
                figures["batch_parts"] = float(result.parts)
            began = time.perf_counter()
            due = result.epoch < self.epochs and pace.due(result.seconds)
            due |= result.epoch in self.save_after
            if due:
                write_state(saved, result.state())
            report(result.epoch, accuracy, _figures(result))
            if due:
                pace.saved(time.perf_counter() - began)
        saved.unlink(missing_ok=True)
        if not self.final:
            return {"accuracy": accuracy, **figures}
        test_accuracy = self._keep(
            evaluated,
            architecture,
            checkpoint_dir,
            train=self.train_config.replace(**training or {}),
            seed=seed,
            accuracy=accuracy,
        )
        return {"accuracy": accuracy, "test_accuracy": test_accuracy, **figures}

    def _keep(
        self,
        network: nn.Module,
        architecture: Architecture,
        folder: Path,
        *,
        train: TrainConfig,
        seed: int,
        accuracy: float,
    ) -> float:
        """Look at the test part and write the weights; the accuracy on the test part."""
        test_accuracy = evaluate(
            network, self.data.test, data=self.data, resolution=architecture.resolution
        )
        save_checkpoint(
            folder / "weights.safetensors",
            network,
            metadata=checkpoint_metadata(
                architecture,
                self.data,
                train=train,
                epochs=self.epochs,
                seed=seed,
                accuracy=accuracy,
                test_accuracy=test_accuracy,
            ),
        )
        return test_accuracy


class Pace:
    """Lets a training save so seldom that saving takes at most MOST_SAVING of its time."""

    def __init__(self) -> None:
        self._cost = 0.0  # of the last saving, with its way to the driver's disk
        self._trained = 0.0  # seconds since

    def due(self, seconds: float) -> bool:
        self._trained += seconds
        return self._cost <= MOST_SAVING * self._trained

    def saved(self, cost: float) -> None:
        self._cost, self._trained = cost, 0.0


def _figures(result: EpochResult) -> dict[str, float]:
    norms = {f"gradient_norm.{name}": norm for name, norm in result.gradient_norms.items()}
    return {"train_loss": result.train_loss, "train_accuracy": result.train_accuracy, **norms}


def write_state(path: Path, state: TrainingState) -> None:
    """Whole or not at all. Raises OSError where the folder cannot be written."""
    write_bytes(path, state_bytes(state))


def state_bytes(state: TrainingState) -> bytes:
    """A safetensors file's content."""
    tensors = {f"weights.{name}": tensor for name, tensor in state.weights.items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in state.optimizer.items()}
    tensors |= {f"average.{name}": tensor for name, tensor in state.average.items()}
    return pack_state(tensors, facts={name: getattr(state, name) for name in _FACTS})


def read_state(path: Path) -> TrainingState:
    """What `write_state` wrote. Raises InputError for a damaged file."""
    tensors, facts = load_state(path)

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    return TrainingState(
        weights=part("weights."),
        optimizer=part("optimizer."),
        average=part("average."),
        **{**facts, "accuracies": tuple(facts["accuracies"])},
    )
