"""What a network costs: fvcore's count of each distinct layer, measured once and remembered.

FLOPs are multiply-adds of convolution, linear and matmul operators, in eval mode at batch 1:
EfficientNet-B0 at 224 px is 385,814,752, the paper's 0.39B. fvcore's own total() also counts batch
norm and adaptive pooling; that is not this figure. Parameters are all trainable tensors.
Activations are the elements of all convolution outputs (arXiv:2103.06877).

A layer's count is affine in the pixels of its input and of its output map, so fvcore traces it on
four small inputs: three give the law, the fourth must agree with it. A layer whose maps have other
sizes still is traced at the very shape asked for. Big inputs then cost no time and no memory, and
there is no formula beside the blocks: every coefficient comes out of a trace.
"""

import logging
import math
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.blocks import Conventions, Layer

with warnings.catch_warnings():  # fvcore decorates with torch.jit.script, which is deprecated
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import conv_flop_jit, get_shape

_COUNTED = ("conv", "linear", "matmul")


@dataclass(frozen=True)
class Cost:
    """FLOPs (multiply-adds), trainable parameters, elements of convolution outputs."""

    flops: int
    params: int
    activations: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.flops + other.flops,
            self.params + other.params,
            self.activations + other.activations,
        )


def measure_cost(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> Cost:
    """The cost of one image through the network; the sum of its layers' costs."""
    costs = measure_layers(architecture, num_classes=num_classes, in_channels=in_channels)
    return sum(costs.values(), Cost(0, 0, 0))


def measure_layers(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> dict[str, Cost]:
    """The cost of each layer by its part: `stem`, `stages.<i>.<j>`, `head`."""
    costs = {}
    size = architecture.resolution
    for row in architecture.rows(num_classes=num_classes, in_channels=in_channels):
        costs[row.part], size = _layer_cost(row.layer, size, architecture.conventions)
    return costs


def trace_cost(module: nn.Module, shape: tuple[int, ...]) -> tuple[Cost, tuple[int, ...]]:
    """fvcore's trace of a module on one input of `shape` (C, H, W): its cost and output shape."""
    output: list[tuple[int, ...]] = []

    def remember(_module: nn.Module, _inputs: Any, result: Tensor) -> None:
        output.append(tuple(int(side) for side in result.shape[1:]))

    hook = module.register_forward_hook(remember)
    analysis = FlopCountAnalysis(module.eval(), torch.zeros(1, *shape))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    analysis.set_op_handle("aten::_convolution", _count_convolution)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the maps are small: a second thread only waits
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            counts = analysis.by_operator()
    finally:
        torch.set_num_threads(threads)
        hook.remove()
    cost = Cost(
        flops=sum(int(counts[operator]) for operator in _COUNTED),
        params=sum(p.numel() for p in module.parameters() if p.requires_grad),
        activations=int(counts["activations"]),
    )
    return cost, output[0]


def _count_convolution(inputs: list[Any], outputs: list[Any]) -> "Counter[str]":
    """fvcore's convolution count, and beside it the elements of the output."""
    counts = Counter(conv_flop_jit(inputs, outputs))
    counts["activations"] = math.prod(get_shape(outputs[0]))
    return counts


@lru_cache(maxsize=262_144)
def _layer_cost(layer: Layer, size: int, conventions: Conventions) -> tuple[Cost, int]:
    """The cost of one layer on a map of `size` pixels a side, and the side of its output."""
    law = _measure_law(layer, conventions)
    if law is not None:
        return law.at(size)
    cost, shape = trace_cost(layer.build(conventions), (layer.in_channels, size, size))
    return cost, shape[-1]


@dataclass(frozen=True)
class _Law:
    """cost = fixed + per_input * size^2 + per_output * ceil(size / stride)^2."""

    stride: int
    fixed: Cost
    per_input: Cost
    per_output: Cost

    def at(self, size: int) -> tuple[Cost, int]:
        out = -(-size // self.stride)
        flops, activations = (
            getattr(self.fixed, name)
            + getattr(self.per_input, name) * size**2
            + getattr(self.per_output, name) * out**2
            for name in ("flops", "activations")
        )
        return Cost(flops, self.fixed.params, activations), out


@lru_cache(maxsize=65_536)
def _measure_law(layer: Layer, conventions: Conventions) -> _Law | None:
    """Trace a layer on four small maps; None unless one law holds for all four."""
    s = layer.stride
    sizes = (4 * s, 4 * s + 1, 6 * s, 7 * s + 1)
    module = layer.build(conventions)
    traced = [trace_cost(module, (layer.in_channels, n, n)) for n in sizes]
    flops = _fit(sizes, s, [cost.flops for cost, _ in traced])
    activations = _fit(sizes, s, [cost.activations for cost, _ in traced])
    params = traced[0][0].params
    law = _Law(
        s,
        fixed=Cost(flops[0], params, activations[0]),
        per_input=Cost(flops[1], 0, activations[1]),
        per_output=Cost(flops[2], 0, activations[2]),
    )
    for size, (cost, shape) in zip(sizes, traced, strict=True):
        side = shape[-1] if len(shape) == 3 else law.at(size)[1]  # a head gives no map
        if law.at(size) != (cost, side):
            return None
    return law


def _fit(sizes: tuple[int, ...], stride: int, counts: list[int]) -> tuple[int, int, int]:
    """(fixed, per input pixel, per output pixel) through three points, by Cramer's rule."""
    x = [n**2 for n in sizes[:3]]
    y = [(-(-n // stride)) ** 2 for n in sizes[:3]]
    dx1, dx2, dy1, dy2 = x[1] - x[0], x[2] - x[0], y[1] - y[0], y[2] - y[0]
    dc1, dc2 = counts[1] - counts[0], counts[2] - counts[0]
    if stride == 1:  # input and output maps are one
        per_input, per_output = 0, dc1 // dy1
    else:
        determinant = dx1 * dy2 - dx2 * dy1
        per_input = (dc1 * dy2 - dc2 * dy1) // determinant
        per_output = (dx1 * dc2 - dx2 * dc1) // determinant
    return counts[0] - per_input * x[0] - per_output * y[0], per_input, per_output
