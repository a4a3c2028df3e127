"""What is exported: a network with its weights, and what is done to its images before it.

It comes from an architecture, a checkpoint or a folder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from experiments.data.images import ChannelStatistics
from experiments.training.augmentation import Preparation
from experiments.training.checkpoint import load_weights, read_metadata
from search_spaces.architecture import Architecture
from search_spaces.network import Network, build_network
from search_spaces.records import InputError, Record
from search_spaces.reference import load_architecture
from search_spaces.weights import Source, load_foreign_weights, read_weights

# Of ImageNet's training images, as torchvision and timm normalise.
IMAGENET = ChannelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Preprocessing(Record):
    """Normalise with `mean` and `std` (of pixels from 0 to 1), then resize to a square.

    Called with uint8 images (N, C, H, W) it gives float32 (N, C, size, size), as in training.
    """

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Literal["bilinear"] = "bilinear"  # antialiased where it shrinks
    measured: bool = True  # False: mean and std are conventional, not the training data's

    def __call__(self, images: Tensor) -> Tensor:
        statistics = ChannelStatistics(self.mean, self.std)
        return Preparation.of(statistics, resolution=self.size, device=torch.device(images.device))(
            images
        )


def conventional(*, size: int, channels: int) -> Preprocessing:
    """For weights whose data are not known: ImageNet's, and one half for other than 3 channels."""
    half = (0.5,) * channels
    statistics = IMAGENET if channels == 3 else ChannelStatistics(half, half)
    return Preprocessing(
        size=size, channels=channels, mean=statistics.mean, std=statistics.std, measured=False
    )


@dataclass(frozen=True, eq=False)
class Model:
    """A network in eval mode, what its images need, and how it came about."""

    network: Network
    architecture: Architecture
    preprocessing: Preprocessing
    classes: tuple[str, ...]  # empty where they are not known by name
    num_classes: int
    training: dict[str, Any]  # the checkpoint's metadata; empty for an untrained network
    origin: str  # one sentence


def untrained_model(
    name_or_path: str,
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    seed: int = 0,
    weights: Path | None = None,
    source: Source | None = None,
    source_model: str | None = None,
) -> Model:
    """An architecture as initialised from `seed`, or with the `weights` of a library's file.

    `source` and `source_model` name the library and its model, which a safetensors file needs.
    """
    architecture = load_architecture(name_or_path)
    torch.manual_seed(seed)
    network = build_network(architecture, num_classes=num_classes, in_channels=in_channels)
    origin = f"Untrained: as initialised from seed {seed}."
    if weights is not None:
        state = read_weights(weights, source=source, model=source_model)
        load_foreign_weights(network, state)
        origin = f"Its weights were read from `{weights.name}`; how they were trained is not known."
    return Model(
        network=network.eval(),
        architecture=architecture,
        preprocessing=conventional(size=architecture.resolution, channels=in_channels),
        classes=(),
        num_classes=num_classes,
        training={},
        origin=origin,
    )


def checkpoint_model(path: Path, *, architecture: str | None = None) -> Model:
    """The network of a run's checkpoint, with what its metadata say.

    Raises InputError for a file that is no checkpoint of ours, or of another network than
    `architecture`, a name or a file, where one is given.
    """
    metadata = read_metadata(path)
    missing = {"architecture", "classes", "in_channels"} - metadata.keys()
    if missing:
        raise InputError(
            f"'{path}' does not say its {', '.join(sorted(missing))}; name a checkpoint that "
            f"`scaler run` wrote, or give the weights to an architecture: "
            f"scaler export ARCH --init-from {path}"
        )
    table = Architecture.parse(metadata["architecture"], source=str(path))
    if architecture is not None:
        table = load_architecture(architecture)
    classes, channels = tuple(metadata["classes"]), int(metadata["in_channels"])
    network = build_network(table, num_classes=len(classes), in_channels=channels)
    load_weights(path, network)
    preprocessing = conventional(size=table.resolution, channels=channels)
    if "mean" in metadata:
        preprocessing = preprocessing.replace(
            mean=metadata["mean"], std=metadata["std"], measured=True
        )
    return Model(
        network=network.eval(),
        architecture=table,
        preprocessing=preprocessing,
        classes=classes,
        num_classes=len(classes),
        training=metadata,
        origin=_told(metadata),
    )


def _told(metadata: dict[str, Any]) -> str:
    """On what data and how long it was trained."""
    epochs = metadata.get("epochs")
    length = f"for {epochs} epochs" if epochs else "for a number of epochs that is not recorded"
    fingerprint = f"fingerprint `{metadata.get('data', 'not recorded')}`"
    name = metadata.get("data_name")
    data = f"`{name}` ({fingerprint})" if name else f"data with the {fingerprint}"
    images = f"{metadata['train_images']:,} images of " if "train_images" in metadata else ""
    seed = f", seed {metadata['seed']}" if "seed" in metadata else ""
    return f"Trained {length} on {images}{data}{seed}."
