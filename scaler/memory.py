"""What a network needs of a device: RAM for its maps at the worst moment, flash for its weights.

A layer's peak is the largest sum of tensors that live at one time, in the best order of its steps
(which tensors there are: `scaler.memory_graph`). Layers follow one another, so the network's peak
is that of its worst layer. Tensors begin at multiples of 16 bytes, as in ExecuTorch and TensorFlow
Lite Micro. MobileNetV2 at 224 px needs 1,505,280 bytes as int8, what ExecuTorch's planner gives it.

As FLOPs (`scaler.law`), a layer's tensors at any size follow from two small traces of its kind,
in which primes stand for its widths; where they contradict each other, the layer itself is traced.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import Literal

import torch

from scaler.law import (
    FIRST,
    NUMBERED,
    SECOND,
    Term,
    factored,
    grain_of,
    map_sides,
    put_in,
    renamed,
    telling_sizes,
    widths_of,
)
from scaler.memory_graph import MemoryGraph, trace_graph
from search_spaces.architecture import Architecture
from search_spaces.blocks import Conventions, Layer
from search_spaces.records import InputError

Precision = Literal["int8", "float16", "float32"]
BYTES: dict[Precision, int] = {"int8": 1, "float16": 2, "float32": 4}
ALIGNMENT = 16  # bytes; ExecuTorch's and TensorFlow Lite Micro's
_CHANNEL = 4  # bytes of a bias (int32) and of a scale (float32) at int8

Terms = dict[Term, Fraction]


@dataclass(frozen=True)
class Tensors:
    """The tensors of a layer at one size: their elements, what each is made from, the output.

    `weights`, `biases` and `scales` are elements; a scale stands for an output channel.
    """

    elements: tuple[int, ...]
    inputs: tuple[tuple[int, ...], ...]
    output: int
    weights: int
    biases: int
    scales: int


@dataclass(frozen=True)
class _Kind:
    """What layers of a kind have in common: each number as products of widths and maps."""

    tensors: tuple[Terms, ...]
    inputs: tuple[tuple[int, ...], ...]
    output: int
    weights: tuple[Terms, Terms, Terms]  # weights, biases, scales


@dataclass(frozen=True)
class _Law:
    """A layer's numbers: fixed, then what a pixel of each of its maps adds."""

    tensors: tuple[tuple[int, ...], ...]
    weights: tuple[int, int, int]


def measure_memory(
    architecture: Architecture,
    *,
    precision: Precision,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> tuple[int, int]:
    """Bytes of RAM at the peak and of flash, of a network that classifies.

    Raises InputError for a network with another task: it keeps maps for its head.
    """
    if architecture.task != "classification":
        raise InputError(
            f"the RAM of '{architecture.name}' is not counted yet: it is for {architecture.task}"
        )
    size, peak, weights = architecture.resolution, 0, 0
    for row in architecture.rows(num_classes=num_classes, in_channels=in_channels):
        ram, stored = layer_memory(row.layer, size, architecture.conventions, precision)
        peak, weights = max(peak, ram), weights + stored
        if row.part != "head":
            size = row.layer.output_size(size)
    return peak, weights


def layer_memory(
    layer: Layer, size: int, conventions: Conventions, precision: Precision = "int8"
) -> tuple[int, int]:
    """Bytes of RAM at the peak and of flash for one layer on a map of `size` pixels a side."""
    tensors = tensors_of(layer, size, conventions)
    return peak_ram(tensors, precision), flash(tensors, precision)


def peak_ram(tensors: Tensors, precision: Precision) -> int:
    """Bytes at the worst moment, in the best order of the steps."""
    sizes = [-(-count * BYTES[precision] // ALIGNMENT) * ALIGNMENT for count in tensors.elements]
    return _best_order(tuple(sizes), tensors.inputs, tensors.output)


def flash(tensors: Tensors, precision: Precision) -> int:
    """Bytes of the weights; as int8 with a bias of 32 bits and a scale for each channel."""
    if precision != "int8":
        return BYTES[precision] * (tensors.weights + tensors.biases)
    return tensors.weights + _CHANNEL * (tensors.biases + tensors.scales)


@lru_cache(maxsize=65_536)
def tensors_of(layer: Layer, size: int, conventions: Conventions) -> Tensors:
    """The tensors of one layer on a map of `size` pixels a side."""
    kind = _kind(*_kind_of(layer), conventions)
    if kind is not None:
        law = _law_of(layer, conventions)
        areas = [1, *(side**2 for side in map_sides(layer, size))]
        elements = tuple(
            sum(count * area for count, area in zip(counts, areas, strict=True))
            for counts in law.tensors
        )
        return Tensors(elements, kind.inputs, kind.output, *law.weights)
    graph = _trace(layer, size, conventions)
    return Tensors(
        tuple(math.prod(step.shape) for step in graph.steps),
        tuple(step.inputs for step in graph.steps),
        graph.output,
        *_weight_sums(graph),
    )


def _trace(layer: Layer, size: int, conventions: Conventions) -> MemoryGraph:
    with torch.device("meta"):  # shapes are enough
        module = layer.build(conventions)
    return trace_graph(module, (layer.in_channels, size, size))


def _weight_sums(graph: MemoryGraph) -> tuple[int, int, int]:
    return (
        sum(weights.elements for weights in graph.weights),
        sum(weights.channels for weights in graph.weights if weights.bias),
        sum(weights.channels for weights in graph.weights),
    )


@lru_cache(maxsize=65_536)
def _kind_of(layer: Layer) -> tuple[Layer, int]:
    widths = widths_of(layer)
    return renamed(layer, widths, range(NUMBERED, NUMBERED + len(widths))), grain_of(layer)


@lru_cache(maxsize=65_536)
def _law_of(layer: Layer, conventions: Conventions) -> _Law:
    kind = _kind(*_kind_of(layer), conventions)
    assert kind is not None
    widths = widths_of(layer)
    weights, biases, scales = (put_in(terms, layer, widths)[0] for terms in kind.weights)
    return _Law(
        tuple(put_in(terms, layer, widths) for terms in kind.tensors), (weights, biases, scales)
    )


@lru_cache(maxsize=4096)
def _kind(kind: Layer, grain: int, conventions: Conventions) -> _Kind | None:
    """From one trace, if a second one with other primes on another map agrees with it."""
    numbers, sizes = widths_of(kind), telling_sizes(kind)
    if len(numbers) > len(FIRST) or len(sizes) < 2:
        return None
    first, second = (
        [grain * prime for prime in primes[: len(numbers)]] for primes in (FIRST, SECOND)
    )
    try:
        layer = renamed(kind, numbers, first)
        graph = _trace(layer, sizes[0], conventions)
        law = _factored(graph, map_sides(layer, sizes[0]), first, grain)
        other = renamed(kind, numbers, second)
        again = _trace(other, sizes[1], conventions)
        agrees = _agrees(law, again, other, second, sizes[1])
    except (ValueError, RuntimeError, AssertionError):  # a module that these widths do not suit
        return None
    return law if agrees else None


def _factored(graph: MemoryGraph, sides: list[int], widths: list[int], grain: int) -> _Kind:
    tensors: list[Terms] = []
    for step in graph.steps:
        if step.joins:
            tensors.append(_total([tensors[number] for number in step.inputs]))
            continue
        channels, side = step.shape[0], step.shape[-1]
        on_map = len(step.shape) == 3 and step.shape[1] == side and side in sides
        where = sides.index(side) if on_map else None
        product, rest = factored(channels if on_map else math.prod(step.shape), widths, grain)
        tensors.append({(product, where): rest})

    def fixed(count: int) -> Terms:
        """A number that no map multiplies."""
        product, rest = factored(count, widths, grain)
        return {(product, None): rest}

    weights = (
        _total([fixed(w.elements) for w in graph.weights]),
        _total([fixed(w.channels) for w in graph.weights if w.bias]),
        _total([fixed(w.channels) for w in graph.weights]),
    )
    inputs = tuple(step.inputs for step in graph.steps)
    return _Kind(tuple(tensors), inputs, graph.output, weights)


def _total(parts: list[Terms]) -> Terms:
    total: Terms = {}
    for part in parts:
        for term, coefficient in part.items():
            total[term] = total.get(term, Fraction(0)) + coefficient
    return total


def _agrees(kind: _Kind, graph: MemoryGraph, layer: Layer, widths: list[int], size: int) -> bool:
    """Whether a second trace is what the first one foretells."""
    areas = [1, *(side**2 for side in map_sides(layer, size))]
    foretold = [
        sum(count * area for count, area in zip(put_in(terms, layer, widths), areas, strict=True))
        for terms in kind.tensors
    ]
    sums = tuple(put_in(terms, layer, widths)[0] for terms in kind.weights)
    return (
        foretold == [math.prod(step.shape) for step in graph.steps]
        and kind.inputs == tuple(step.inputs for step in graph.steps)
        and kind.output == graph.output
        and sums == _weight_sums(graph)
    )


@lru_cache(maxsize=65_536)
def _best_order(sizes: tuple[int, ...], inputs: tuple[tuple[int, ...], ...], output: int) -> int:
    """The least peak over every order in which each step comes behind its inputs.

    `done` is a set of steps as bits. What can still be done from it does not depend on the order
    so far, so each set is looked at once; layers have few branches, so there are few sets.
    """
    users = [[k for k, made in enumerate(inputs) if i in made] for i in range(len(sizes))]

    @cache
    def least(done: int) -> int:
        """The peak of what is left to do."""
        kept = sum(
            size
            for i, size in enumerate(sizes)
            if done >> i & 1 and (i == output or any(not done >> k & 1 for k in users[i]))
        )
        ready = [
            k
            for k in range(len(sizes))
            if not done >> k & 1 and all(done >> i & 1 for i in inputs[k])
        ]
        return min((max(kept + sizes[k], least(done | 1 << k)) for k in ready), default=kept)

    return least(1)
