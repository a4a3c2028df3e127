"""A problem that a small network learns in a few epochs: on which side is the bright bar?"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn

from experiments.config import TrainConfig
from experiments.data.images import ImageData, Split
from experiments.training.loop import EpochResult, train_epochs


def bars(count: int, *, seed: int) -> Split:
    random = np.random.RandomState(seed)
    labels = np.arange(count) % 2
    images = random.randint(0, 60, (count, 1, 8, 8)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, :, 1 + 5 * label] = 255
    return Split(images, labels.astype(np.int64))


@pytest.fixture
def data() -> ImageData:
    parts = bars(100, seed=0), bars(40, seed=1), bars(40, seed=2)
    return ImageData("bars", ("left", "right"), *parts, fingerprint="0" * 16)


@pytest.fixture
def build() -> Callable[..., nn.Module]:
    """build(seed=): a convolution with batch norm and dropout, flattened so that place counts."""

    def network(*, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(64, 2),
        )

    return network


@pytest.fixture
def train(data) -> Callable[..., Iterator[EpochResult]]:
    """train(network, ...): train_epochs with small defaults, each of which can be replaced."""

    def start(network: nn.Module, **changes: object) -> Iterator[EpochResult]:
        settings = {
            "config": TrainConfig(
                batch_size=16, learning_rate=0.05, device="cpu", layout="channels_last"
            ),
            "epochs": 3,
            "resolution": 8,
            "flip": False,
            "crop_padding": 1,
            "seed": 0,
            "device": "cpu",
        }
        images = changes.pop("data", data)
        return train_epochs(network, images, **{**settings, **changes})

    return start
