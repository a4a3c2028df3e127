"""Small networks, and a training of them with small defaults."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from experiments.config.recipe import Augmentation, TrainConfig
from experiments.training.checkpoint import TrainedEpoch
from experiments.training.loop import train_epochs


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
def train(data) -> Callable[..., Iterator[TrainedEpoch]]:
    """train(network, ...): train_epochs with small defaults, each of which can be replaced."""

    def start(network: nn.Module, **changes: object) -> Iterator[TrainedEpoch]:
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


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Two classes of 20 random images of several sizes."""
    monkeypatch.setenv("SCALER_CACHE", str(tmp_path / "cache"))
    random = np.random.RandomState(0)
    for number in range(40):
        pixels = random.randint(0, 256, (9 + number % 3, 8, 3)).astype(np.uint8)
        path = tmp_path / "images" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "images"
