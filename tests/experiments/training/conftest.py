"""Small networks, and a training of them with small defaults."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from experiments.config.recipe import Augmentation, TrainConfig
from experiments.training.loop import EpochResult, train_epochs


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
            "augmentation": Augmentation(
                flip=changes.pop("flip", False), crop_padding=changes.pop("crop_padding", 1)
            ),
            "seed": 0,
            "device": "cpu",
        }
        images = changes.pop("data", data)
        return train_epochs(network, images, **{**settings, **changes})

    return start
