"""The part of a network's cost that belongs to each kind of operator.

Torch counts the FLOPs of each module on its meta device, which computes only shapes. This needs no
formula of ours, and it checks `measure_cost`, which takes fvcore's counts.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scaler.cost import Cost, measure_cost
from search_spaces.architecture import Architecture
from search_spaces.network import Network, build_network

OPERATORS = (
    "conv 1x1",
    "conv kxk",
    "conv grouped",
    "conv depthwise",
    "conv transposed",
    "linear",
    "matmul",
    "other",  # parameters of batch norm
)


def measure_operators(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> dict[str, Cost]:
    """The cost of each kind of operator by its name in OPERATORS; kinds without cost are left out.

    A convolution with one channel in each group is depthwise; others with several groups are
    grouped, for any kernel. The costs add up to `measure_cost` exactly.
    """
    with torch.device("meta"):
        built = build_network(architecture, num_classes=num_classes, in_channels=in_channels)
        images = torch.empty(1, in_channels, architecture.resolution, architecture.resolution)
    network = _Raw(built)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(images)
    counted = counter.get_flop_counts()
    costs = dict.fromkeys(OPERATORS, Cost(0, 0, 0))
    for name, module in network.named_modules():
        own = sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad)
        flops = elements = 0
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            # Torch counts a multiply-add as two, and names a module with its root's class.
            flops = sum(counted.get(f"{type(network).__name__}.{name}", {}).values()) // 2
        if isinstance(module, nn.Conv2d):
            # Each output element takes as many multiply-adds as an output channel has weights.
            elements = flops * module.out_channels // module.weight.numel()
        if isinstance(module, nn.ConvTranspose2d):  # counted for each pixel of its input
            pixels = flops // module.weight.numel() * math.prod(module.stride)
            elements = pixels * module.out_channels
        costs[operator_of(module)] += Cost(flops, own, elements)
    # FLOPs are conv + linear + matmul: those outside modules are products of two maps.
    rest = sum(counted["Global"].values()) // 2 - sum(cost.flops for cost in costs.values())
    costs["matmul"] += Cost(rest, 0, 0)
    whole = measure_cost(architecture, num_classes=num_classes, in_channels=in_channels)
    assert sum(costs.values(), Cost(0, 0, 0)) == whole, f"{architecture.name} by operator: {costs}"
    return {kind: cost for kind, cost in costs.items() if cost != Cost(0, 0, 0)}


class _Raw(nn.Module):
    """A network without the step from scores to boxes, which needs real numbers."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> Any:
        """The outputs of its layers."""
        return self.network.raw(x)


def operator_of(module: nn.Module) -> str:
    """A module's own kind in OPERATORS; its children have their own."""
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, nn.ConvTranspose2d):
        return "conv transposed"
    if not isinstance(module, nn.Conv2d):
        return "other"
    if module.groups == module.in_channels and module.groups > 1:
        return "conv depthwise"
    if module.groups > 1:
        return "conv grouped"
    return "conv 1x1" if module.kernel_size == (1, 1) else "conv kxk"
