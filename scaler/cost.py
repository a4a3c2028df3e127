"""What a network costs: fvcore's count of each distinct layer, measured once and remembered.

FLOPs are multiply-adds of convolution, linear and matmul operators, in eval mode at batch 1:
EfficientNet-B0 at 224 px is 385,814,752, the paper's 0.39B. fvcore's own total() also counts batch
norm and adaptive pooling; that is not this figure. Parameters are all trainable tensors.
Activations are the elements of all convolution outputs (arXiv:2103.06877).

A layer's count is affine in the pixels of the maps inside it, whose sizes its windows tell, so
fvcore traces it on a few small inputs: one for each unknown, and one more that must agree with the
law they give. A layer that keeps to no such law is traced at the very shape asked for. Big inputs
then cost no time and no memory, and there is no formula beside the blocks: every coefficient comes
out of a trace.
"""

import logging
import math
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.blocks import Conventions, Layer
from search_spaces.blocks.window import sizes_along

with warnings.catch_warnings():  # fvcore decorates with torch.jit.script, which is deprecated
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import conv_flop_jit, get_shape

_SMALL = 64  # px: maps that are alike up to here are alike, and no law is found
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
    """The cost of each layer by its part: `stem`, `stages.<i>.<j>`, `head`, `auxiliary.<i>`.

    Auxiliary classifiers are parameters only: they do not run in eval mode.
    """
    costs = {}
    size = architecture.resolution
    conventions = architecture.conventions
    for row in architecture.rows(num_classes=num_classes, in_channels=in_channels):
        costs[row.part], size = _layer_cost(row.layer, size, conventions)
    for row in architecture.auxiliary_rows(num_classes=num_classes):
        costs[row.part] = Cost(0, _count_parameters(row.layer.build(conventions)), 0)
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
        params=_count_parameters(module),
        activations=int(counts["activations"]),
    )
    return cost, output[0]


def _count_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


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
    """cost = fixed + the sum over the layer's maps of what a pixel of each costs."""

    layer: Layer
    params: int
    flops: tuple[int, ...]  # fixed, then per pixel of each map
    activations: tuple[int, ...]

    def at(self, size: int) -> tuple[Cost, int]:
        areas = _areas(self.layer, size)
        flops, activations = (
            sum(c * a for c, a in zip(counts, areas, strict=True))
            for counts in (self.flops, self.activations)
        )
        return Cost(flops, self.params, activations), self.layer.output_size(size)


@lru_cache(maxsize=65_536)
def _measure_law(layer: Layer, conventions: Conventions) -> _Law | None:
    """Trace a layer on a few small maps; None unless one law holds for all of them."""
    sizes = _small_sizes(layer)
    module = layer.build(conventions)
    traced = [trace_cost(module, (layer.in_channels, n, n)) for n in sizes]
    areas = np.array([_areas(layer, n) for n in sizes], dtype=float)
    flops, activations = (
        tuple(
            round(float(c))
            for c in np.linalg.lstsq(
                areas, np.array([getattr(cost, name) for cost, _ in traced], dtype=float)
            )[0]
        )
        for name in ("flops", "activations")
    )
    law = _Law(layer, traced[0][0].params, flops, activations)
    for size, (cost, shape) in zip(sizes, traced, strict=True):
        side = shape[-1] if len(shape) == 3 else law.at(size)[1]  # a head gives no map
        if law.at(size) != (cost, side):
            return None
    return law


def _areas(layer: Layer, size: int) -> list[int]:
    """1, then the pixels of each map of a layer whose input is `size` px, every size once."""
    return [1, *(sizes[i] ** 2 for sizes, i in _maps(layer, size))]


def _maps(layer: Layer, size: int) -> list[tuple[list[int], int]]:
    """Where in the layer's paths stands each distinct map: maps of one stride and trim are one."""
    seen: dict[tuple[tuple[int, int, str], ...], tuple[list[int], int]] = {}
    for path in layer.paths:
        sizes = sizes_along(path, size)
        shrunk: tuple[tuple[int, int, str], ...] = ()
        seen.setdefault(shrunk, (sizes, 0))
        for i, window in enumerate(path, start=1):
            if window.padding == "symmetric":
                step = (0, window.stride, "") if window.stride > 1 else ()
            else:
                step = (max(window.kernel), window.stride, window.padding)
            shrunk = (*shrunk, step) if step else shrunk
            seen.setdefault(shrunk, (sizes, i))
    return list(seen.values())


def _small_sizes(layer: Layer) -> list[int]:
    """Legal input sizes, small ones first, that tell the layer's maps apart, and one more."""
    sizes: list[int] = []
    size = 1
    while True:
        try:
            areas = _areas(layer, size)
        except ValueError:  # smaller than the layer's windows and strides
            size += 1
            continue
        known = [_areas(layer, n) for n in sizes]
        if len(known) == len(areas) or np.linalg.matrix_rank([*known, areas]) > len(known):
            sizes.append(size)
        if len(sizes) > len(areas) or size > _SMALL:
            return sizes
        size += 1
