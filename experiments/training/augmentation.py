"""From stored uint8 images to a network's input, a batch at a time, on the training device."""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.data.images import ChannelStatistics


def augment(images: Tensor, *, flip: bool, crop_padding: int, generator: torch.Generator) -> Tensor:
    """Flip each image or not, then crop it at a random place of itself padded with zeros.

    `images` and the result are (N, C, H, W), on the generator's device. An image moves by at most
    `crop_padding` pixels each way; half of them are mirrored. With neither, nothing is drawn.
    """
    if not flip and not crop_padding:
        return images
    count, channels, height, width = images.shape
    device = images.device
    rows = torch.arange(height, device=device).expand(count, height)  # (N, H)
    columns = torch.arange(width, device=device).expand(count, width)  # (N, W)
    if flip:
        mirrored = torch.randint(2, (count, 1), generator=generator, device=device) == 1
        columns = torch.where(mirrored, width - 1 - columns, columns)
    if crop_padding:
        corners = torch.randint(
            2 * crop_padding + 1, (2, count, 1), generator=generator, device=device
        )
        rows, columns = rows + corners[0], columns + corners[1]
        images = F.pad(images, (crop_padding,) * 4)
    source = rows[:, :, None] * images.shape[3] + columns[:, None, :]  # (N, H, W)
    source = source.view(count, 1, -1).expand(count, channels, -1)
    # Gathering from flattened pixels was 1.5 to 3.5 times faster than indexing or unfolding.
    return images.flatten(2).gather(2, source).view(count, channels, height, width)


def resize(images: Tensor, resolution: int) -> Tensor:
    """Floating-point (N, C, H, W) to (N, C, R, R): bilinear, antialiased where it shrinks."""
    if images.shape[2:] == (resolution, resolution):
        return images
    return F.interpolate(images, size=(resolution, resolution), mode="bilinear", antialias=True)


@dataclass(frozen=True, eq=False)
class Preparation:
    """Normalise and resize: uint8 (N, C, H, W) -> float32 (N, C, R, R)."""

    scale: Tensor  # (C, 1, 1), of a uint8 value
    shift: Tensor  # (C, 1, 1)
    resolution: int
    layout: torch.memory_format

    @classmethod
    def of(
        cls,
        statistics: ChannelStatistics,
        *,
        resolution: int,
        device: torch.device,
        layout: torch.memory_format = torch.contiguous_format,
    ) -> Self:
        mean = torch.tensor(statistics.mean, dtype=torch.float64)
        std = torch.tensor(statistics.std, dtype=torch.float64)
        scale, shift = 1 / (255 * std), -mean / std
        return cls(
            scale.float().view(-1, 1, 1).to(device),
            shift.float().view(-1, 1, 1).to(device),
            resolution,
            layout,
        )

    def __call__(self, images: Tensor) -> Tensor:
        inputs = resize(normalise(images, scale=self.scale, shift=self.shift), self.resolution)
        return inputs.contiguous(memory_format=self.layout)


def normalise(images: Tensor, *, scale: Tensor, shift: Tensor) -> Tensor:
    """float32 `images * scale + shift`; scale = 1 / (255 std), shift = -mean / std."""
    return images.to(torch.float32).mul_(scale).add_(shift)
