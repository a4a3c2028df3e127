"""The tensors of a layer at any size, from two small traces of its kind, as FLOPs (`scaler.law`).

In the traces primes stand for the layer's widths; where the two contradict each other, the layer
itself is traced. Which tensors there are: `scaler.memory_graph`.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

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
from search_spaces.blocks import Conventions, Layer

Terms = dict[Term, Fraction]


@dataclass(frozen=True)
class Tensors:
    """The tensors of a layer at one size: their elements, what each is made from, the output.

    `weights`, `biases` and `scales` are elements; a scale stands for an output channel. `scratch`
    and `floats` are of each tensor, as `scaler.memory_graph.Step` has them.
    """

    elements: tuple[int, ...]
    inputs: tuple[tuple[int, ...], ...]
    output: int
    weights: int
    biases: int
    scales: int
    scratch: tuple[tuple[int, int], ...] = ()
    floats: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Kind:
    """What layers of a kind have in common: each number as products of widths and maps."""

    tensors: tuple[Terms, ...]
    inputs: tuple[tuple[int, ...], ...]
    output: int
    weights: tuple[Terms, Terms, Terms]  # weights, biases, scales
    scratch: tuple[tuple[Terms, Terms], ...]
    floats: tuple[int, ...]


@dataclass(frozen=True)
class _Law:
    """A layer's numbers: fixed, then what a pixel of each of its maps adds."""

    tensors: tuple[tuple[int, ...], ...]
    weights: tuple[int, int, int]
    scratch: tuple[tuple[int, int], ...]


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
        own = (law.scratch, kind.floats)
        return Tensors(elements, kind.inputs, kind.output, *law.weights, *own)
    graph = _trace(layer, size, conventions)
    return Tensors(
        tuple(math.prod(step.shape) for step in graph.steps),
        tuple(step.inputs for step in graph.steps),
        graph.output,
        *_weight_sums(graph),
        tuple(step.scratch for step in graph.steps),
        tuple(step.floats for step in graph.steps),
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
        tuple(put_in(terms, layer, widths) for terms in kind.tensors),
        (weights, biases, scales),
        _scratch_of(kind, layer, widths),
    )


def _scratch_of(kind: _Kind, layer: Layer, widths: list[int]) -> tuple[tuple[int, int], ...]:
    return tuple(
        (put_in(plain, layer, widths)[0], put_in(dsp, layer, widths)[0])
        for plain, dsp in kind.scratch
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
    scratch = tuple((fixed(step.scratch[0]), fixed(step.scratch[1])) for step in graph.steps)
    floats = tuple(step.floats for step in graph.steps)
    return _Kind(tuple(tensors), inputs, graph.output, weights, scratch, floats)


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
        and _scratch_of(kind, layer, widths) == tuple(step.scratch for step in graph.steps)
        and kind.floats == tuple(step.floats for step in graph.steps)
    )
