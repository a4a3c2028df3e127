"""A split on the device, and a network's accuracy on it."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from experiments.data.images import Split
from experiments.training.augmentation import Preparation
from experiments.training.batches import Batch, Placed, in_order

_BATCH = 256  # images at a time; there is no gradient to keep


@dataclass(frozen=True, eq=False)
class DeviceSplit:
    """A Split as two tensors on the training device: uint8 (N, C, H, W), int64 (N,)."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, split: Split, device: torch.device) -> Self:
        return cls(_shared(split.images).to(device), _shared(split.labels).to(device))

    def batches(self, chosen: Iterable[Tensor]) -> Iterator[Batch]:
        """See experiments.training.batches."""
        for numbers in chosen:
            numbers = numbers.to(self.images.device)
            yield self.images[numbers], self.labels[numbers]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rank: int, of: int) -> Self:
        """Every `of`-th image, from the `rank`-th on."""
        return type(self)(self.images[rank::of], self.labels[rank::of])


def _shared(array: np.ndarray) -> Tensor:
    """The same memory as a tensor, so that the trials of a node on the CPU share one copy of it.

    It may be mapped read-only, of which torch warns: nothing here writes to a split.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))


@torch.inference_mode()
def measure_accuracy(network: nn.Module, split: Placed, *, prepare: Preparation) -> float:
    """The share of `split` classified rightly in eval mode; the network's own mode comes back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        right = torch.zeros((), dtype=torch.int64, device=split.labels.device)
        for images, labels in split.batches(in_order(len(split), batch_size=_BATCH)):
            logits = network(prepare(images))  # (B, num_classes)
            right += (logits.argmax(1) == labels).sum()
        return int(right) / len(split)
    finally:
        for module, mode in modes.items():
            module.training = mode
