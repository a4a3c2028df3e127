"""A split on the device, and a network's accuracy on it."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from experiments.data.images import Split
from experiments.training.augmentation import Preparation

_BATCH = 256  # images at a time; there is no gradient to keep


@dataclass(frozen=True, eq=False)
class DeviceSplit:
    """A Split as two tensors on the training device: uint8 (N, C, H, W), int64 (N,)."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, split: Split, device: torch.device) -> Self:
        # torch.tensor copies: what is memory-mapped is read-only, and is read here once.
        return cls(
            torch.tensor(split.images, device=device), torch.tensor(split.labels, device=device)
        )

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rank: int, of: int) -> Self:
        """Every `of`-th image, from the `rank`-th on."""
        return type(self)(self.images[rank::of], self.labels[rank::of])


@torch.inference_mode()
def measure_accuracy(network: nn.Module, split: DeviceSplit, *, prepare: Preparation) -> float:
    """The share of `split` classified rightly in eval mode; the network's own mode comes back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        right = torch.zeros((), dtype=torch.int64, device=split.images.device)
        for start in range(0, len(split), _BATCH):
            batch = slice(start, start + _BATCH)
            logits = network(prepare(split.images[batch]))  # (B, num_classes)
            right += (logits.argmax(1) == split.labels[batch]).sum()
        return int(right) / len(split)
    finally:
        for module, mode in modes.items():
            module.training = mode
