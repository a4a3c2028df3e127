"""The built-in evaluation: trains an architecture on a data set, one report an epoch."""

from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.config import DataConfig, TrainConfig
from experiments.data.images import ImageData
from experiments.studies.worker import Report
from experiments.training.checkpoint import save_checkpoint
from experiments.training.loop import evaluate, train_epochs
from search_spaces.architecture import Architecture
from search_spaces.network import build_network


@dataclass(frozen=True)
class TrainingEvaluation:
    """An `Evaluate` (see experiments.studies.worker) over image data held in memory.

    A `final` training also looks at the test part, once, and keeps the weights.
    """

    data: ImageData
    data_config: DataConfig
    train_config: TrainConfig
    epochs: int
    threads: int = 1
    final: bool = False

    def __call__(
        self, architecture: Architecture, *, report: Report, seed: int, checkpoint_dir: Path
    ) -> dict[str, float]:
        torch.set_num_threads(self.threads)
        torch.manual_seed(seed)
        network = build_network(
            architecture, num_classes=self.data.num_classes, in_channels=self.data.channels
        )
        accuracy = 0.0
        for result in train_epochs(
            network,
            self.data,
            config=self.train_config,
            epochs=self.epochs,
            resolution=architecture.resolution,
            flip=self.data_config.flip,
            crop_padding=self.data_config.crop_padding,
            seed=seed,
            device=self.train_config.device,
        ):
            accuracy = result.accuracy
            seen = {"train_loss": result.train_loss, "train_accuracy": result.train_accuracy}
            norms = {f"gradient_norm.{k}": v for k, v in result.gradient_norms.items()}
            report(result.epoch, accuracy, {**seen, **norms})
        if not self.final:
            return {"accuracy": accuracy}
        test_accuracy = evaluate(
            network, self.data.test, data=self.data, resolution=architecture.resolution
        )
        save_checkpoint(
            checkpoint_dir / "weights.safetensors",
            network,
            metadata={
                "architecture": architecture.model_dump(mode="json", exclude_defaults=True),
                "classes": list(self.data.classes),
                "in_channels": self.data.channels,
                "data": self.data.fingerprint,
                "data_name": self.data.name,
                "mean": self.data.statistics.mean,
                "std": self.data.statistics.std,
                "train_images": len(self.data.train),
                "epochs": self.epochs,
                "seed": seed,
                "train": self.train_config.model_dump(mode="json"),
                "accuracy": accuracy,
                "test_accuracy": test_accuracy,
            },
        )
        return {"accuracy": accuracy, "test_accuracy": test_accuracy}
