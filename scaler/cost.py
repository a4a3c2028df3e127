"""What a network costs: fvcore's count of its layers, each kind traced once and remembered.

FLOPs are multiply-adds of convolution, linear and matmul operators, in eval mode at batch 1:
EfficientNet-B0 at 224 px is 385,814,752, the paper's 0.39B. fvcore's own total() also counts batch
norm and adaptive pooling, which this figure does not. Parameters are all trainable tensors.
Activations are the elements of all convolution outputs (arXiv:2003.13678). Peak RAM and flash are
bytes on a device that runs the network; `scaler.memory` says how they are counted.

The cost of a layer at any size follows from traces of small layers of its kind (`scaler.law`), so
large networks take no memory and hardly any time, and no block needs a formula of its cost.
"""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce

import torch
from torch import nn

from scaler.law import law_of
from scaler.memory import memory_rows
from scaler.tracing import trace_operators
from search_spaces.architecture import Architecture
from search_spaces.blocks import Conventions, Layer
from search_spaces.heads import Row
from search_spaces.records import InputError
from search_spaces.space import SearchSpace

SAMPLE = 100  # members of a space: their median is within about 7 % of the median of all


@dataclass(frozen=True)
class Cost:
    """FLOPs (multiply-adds), trainable parameters, elements of convolution outputs.

    `peak_ram` is bytes of all maps that live at the worst moment, `flash` bytes of the weights,
    both as int8; `scaler.memory.measure_memory` gives them for another precision. The peak of a sum
    is the larger of the two, as layers run one after another. None if they were not measured. Costs
    are equal if the first three figures are: a trace of operators does not give the other two.
    """

    flops: int
    params: int
    activations: int
    peak_ram: int | None = field(default=None, compare=False)
    flash: int | None = field(default=None, compare=False)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.flops + other.flops,
            self.params + other.params,
            self.activations + other.activations,
            _both(max, self.peak_ram, other.peak_ram),
            _both(operator.add, self.flash, other.flash),
        )


def _both(joined: Callable[[int, int], int], one: int | None, other: int | None) -> int | None:
    """The figure of two parts together; None if one is None."""
    return None if one is None or other is None else joined(one, other)


def measure_cost(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> Cost:
    """The cost of one image through the network; the sum of its layers' costs."""
    costs = measure_layers(architecture, num_classes=num_classes, in_channels=in_channels)
    return reduce(operator.add, costs.values())


def device_cost(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> Cost:
    """`measure_cost` with RAM and flash, for which each kind of layer is traced twice more."""
    costs = device_layers(architecture, num_classes=num_classes, in_channels=in_channels)
    return reduce(operator.add, costs.values())


def measure_layers(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> dict[str, Cost]:
    """The cost of each layer by its part: `stem`, `stages.<i>.<j>`, `head`, `auxiliary.<i>`.

    Layers of a dense head are `head.<name>`, each counted at the maps that it reads, as often as it
    runs there. The steps from a detector's scores to boxes (anchors, NMS, RoI align) have no
    multiply-adds of convolution or linear layers and count 0.
    Auxiliary classifiers count as parameters only: they do not run in eval mode.
    """
    costs = {
        row.part: _row_cost(row, sides, architecture.conventions)
        for row, sides in _rows(architecture, num_classes, in_channels)
    }
    for row in architecture.auxiliary_rows(num_classes=num_classes):
        costs[row.part] = Cost(0, _params(row.layer, architecture.conventions), 0)
    return costs


def device_layers(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> dict[str, Cost]:
    """`measure_layers` with RAM and flash. Auxiliary classifiers are not on the device."""
    costs = measure_layers(architecture, num_classes=num_classes, in_channels=in_channels)
    for row in memory_rows(architecture, num_classes=num_classes, in_channels=in_channels):
        costs[row.part] = replace(costs[row.part], peak_ram=row.ram, flash=row.flash)
    for auxiliary in architecture.auxiliary_rows(num_classes=num_classes):
        costs[auxiliary.part] = replace(costs[auxiliary.part], peak_ram=0, flash=0)
    return costs


def _rows(
    architecture: Architecture, num_classes: int, in_channels: int
) -> Iterator[tuple[Row, list[int]]]:
    """Each row with the sides of the maps that it reads, in pixels."""
    sizes, size = architecture.sizes(), architecture.resolution
    for row in architecture.rows(num_classes=num_classes, in_channels=in_channels):
        sides = row.sides(sizes, size)
        yield row, sides
        size = _layer_cost(row.layer, sides[0], architecture.conventions)[1]


def _row_cost(row: Row, sides: list[int], conventions: Conventions) -> Cost:
    """The row's cost on all its maps; its parameters count once."""
    costs = [_layer_cost(row.layer, side, conventions)[0] for side in sides]
    return Cost(
        row.times * sum(cost.flops for cost in costs),
        costs[0].params,
        row.times * sum(cost.activations for cost in costs),
    )


def sampled_costs(
    space: SearchSpace, *, num_classes: int = 1000, in_channels: int = 3
) -> list[tuple[Architecture, Cost]]:
    """`SAMPLE` random members of a space with their costs, always the same ones.

    Raises InputError if no member has parts that fit together.
    """
    members = space.members(SAMPLE, seed=0)
    if not members:
        raise InputError(f"no random network of space '{space.name}' has parts that fit together")
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    return [(member, measure_cost(member, **sizes)) for member in members]


def trace_cost(module: nn.Module, shape: tuple[int, ...]) -> tuple[Cost, tuple[int, ...]]:
    """fvcore's trace of a module on one input of `shape` (C, H, W): its cost and output shape."""
    trace = trace_operators(module, shape)
    cost = Cost(
        flops=sum(one.flops for one in trace.operators),
        params=sum(trace.weights),
        activations=sum(one.activations for one in trace.operators),
    )
    return cost, trace.output_shape


@lru_cache(maxsize=262_144)
def _layer_cost(layer: Layer, size: int, conventions: Conventions) -> tuple[Cost, int]:
    """The cost of one layer on a map of `size` pixels a side, and the side of its output."""
    law = law_of(layer, conventions)
    if law is not None:
        flops, activations = law.at(size)
        return Cost(flops, law.params, activations), layer.output_size(size)
    cost, shape = trace_cost(layer.build(conventions), (layer.in_channels, size, size))
    return cost, shape[-1]


@lru_cache(maxsize=4096)
def _params(layer: Layer, conventions: Conventions) -> int:
    with torch.device("meta"):  # shapes are enough
        module = layer.build(conventions)
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
