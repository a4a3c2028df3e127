"""What a network's cost is made of, operator by operator.

The network is run on torch's meta device, which computes shapes and nothing else, and its
convolutions and linear layers are watched. They add up to `measure_cost`, which asks fvcore.
"""

from typing import Any

import torch
from torch import Tensor, nn

from scaler.cost import Cost, measure_cost
from search_spaces.architecture import Architecture
from search_spaces.network import build_network

OPERATORS = (
    "conv 1x1",
    "conv kxk",
    "conv grouped",
    "conv depthwise",
    "linear",
    "matmul",
    "other",  # parameters of batch norm
)


def measure_operators(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> dict[str, Cost]:
    """The cost of each kind of operator by its name in OPERATORS; those of no cost are left out.

    A convolution of one channel a group is depthwise, another of several groups grouped, whatever
    their kernels. The sum is the network's cost to the integer.
    """
    with torch.device("meta"):
        network = build_network(architecture, num_classes=num_classes, in_channels=in_channels)
        images = torch.empty(1, in_channels, architecture.resolution, architecture.resolution)
    costs = dict.fromkeys(OPERATORS, Cost(0, 0, 0))

    def count(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        kind = operator_of(module)
        costs[kind] += _computed(module, output)

    hooks = []
    for module in network.modules():
        own = sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad)
        costs[operator_of(module)] += Cost(0, own, 0)
        if isinstance(module, nn.Conv2d | nn.Linear):
            hooks.append(module.register_forward_hook(count))
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()
    whole = measure_cost(architecture, num_classes=num_classes, in_channels=in_channels)
    # FLOPs are conv + linear + matmul: what no module computes is a product of two maps.
    rest = whole.flops - sum(cost.flops for cost in costs.values())
    costs["matmul"] += Cost(rest, 0, 0)
    assert rest >= 0, f"{architecture.name}: {-rest} FLOPs too many by operator"
    assert sum(costs.values(), Cost(0, 0, 0)) == whole, f"{architecture.name} by operator: {costs}"
    return {kind: cost for kind, cost in costs.items() if cost != Cost(0, 0, 0)}


def operator_of(module: nn.Module) -> str:
    """A module's own kind in OPERATORS; its children have their own."""
    if isinstance(module, nn.Linear):
        return "linear"
    if not isinstance(module, nn.Conv2d):
        return "other"
    if module.groups == module.in_channels and module.groups > 1:
        return "conv depthwise"
    if module.groups > 1:
        return "conv grouped"
    return "conv 1x1" if module.kernel_size == (1, 1) else "conv kxk"


def _computed(module: nn.Module, output: Tensor) -> Cost:
    """Each element of the output is a product with as many weights as one output channel has."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    elements = output.numel()
    convolved = elements if isinstance(module, nn.Conv2d) else 0
    return Cost(elements * (weight.numel() // len(weight)), 0, convolved)
