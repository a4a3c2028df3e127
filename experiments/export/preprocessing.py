"""What is done to an image before a network sees it, as a file."""

from typing import Literal

import torch
from torch import Tensor

from experiments.data.images import ChannelStatistics
from experiments.training.augmentation import Preparation
from search_spaces.records import Record

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
