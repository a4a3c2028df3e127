"""Where a training takes its batches from, whether its images lie on the device or are streamed.

    split = place(data.train, device)                    # DeviceSplit or StreamedSplit
    chosen = torch.randperm(len(split), generator=...).split(batch_size)
    for images, labels in split.batches(chosen):         # uint8 (B, C, H, W), int64 (B,), on device
        ...

The caller draws the order, so that an epoch follows from (seed, epoch) alone: the same numbers give
the same batches, bit for bit, from either kind of split. Several workers take each their own part
of every batch's numbers.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol, Self, TypeAlias

import torch
from torch import Tensor

Batch: TypeAlias = tuple[Tensor, Tensor]  # uint8 (B, C, H, W) and int64 (B,), on the device


class Placed(Protocol):
    """A part of a data set from which a training on one device takes its batches."""

    @property
    def labels(self) -> Tensor:
        """int64 (N,), on the device."""

    def __len__(self) -> int: ...

    def batches(self, chosen: Iterable[Tensor]) -> Iterator[Batch]:
        """For each tensor of image numbers, on whatever device, these images in that order."""

    def part(self, rank: int, of: int) -> Self:
        """Every `of`-th image, from the `rank`-th on."""


def in_order(count: int, *, batch_size: int) -> Iterator[Tensor]:
    """The numbers of `count` images, batch by batch; the last one may be smaller."""
    return (
        torch.arange(start, min(start + batch_size, count)) for start in range(0, count, batch_size)
    )
