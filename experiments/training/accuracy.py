"""The share of images that a network classifies rightly."""

import torch
from torch import nn

from experiments.data.images import ImageData, Part
from experiments.training.augmentation import Preparation
from experiments.training.batches import Placed, in_order, place

_BATCH = 256  # images at a time; there is no gradient to keep


def evaluate(network: nn.Module, split: Part, *, data: ImageData, resolution: int) -> float:
    """Accuracy in [0, 1] on `split`, on the device where the network is.

    `data` is what the network was trained on: its training images give mean and deviation.
    """
    device = next(network.parameters()).device
    prepare = Preparation.of(data.statistics, resolution=resolution, device=device)
    return measure_accuracy(network, place(split, device), prepare=prepare)


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
