"""What a checkpoint says of its network: enough to build it, to use it, and to train it again."""

from typing import Any

from experiments.config.recipe import TrainConfig
from experiments.data.images import ImageData
from search_spaces.architecture import Architecture


def checkpoint_metadata(
    architecture: Architecture,
    data: ImageData,
    *,
    train: TrainConfig,
    epochs: int,
    seed: int,
    **facts: Any,
) -> dict[str, Any]:
    """JSON values; `facts` (accuracies, the epoch) come last."""
    return {
        "architecture": architecture.model_dump(mode="json", exclude_defaults=True),
        "classes": list(data.classes),
        "in_channels": data.channels,
        "data": data.fingerprint,
        "data_name": data.name,
        "mean": data.statistics.mean,
        "std": data.statistics.std,
        "train_images": len(data.train),
        "epochs": epochs,
        "seed": seed,
        "train": train.model_dump(mode="json"),
        **facts,
    }
