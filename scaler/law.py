"""What a layer costs at any size, from two small traces of a layer of its kind.

A worked example, EfficientNet-B0's stem: a 3 x 3 convolution with stride 2, from 3 to 32 channels.

1. Trace the same kind of layer with 17 and 23 channels on 3 px, so on an output of 2 x 2 px. fvcore
   counts 14,076 multiply-adds. Over the 4 pixels that is 3,519 = 17 * 23 * 9. So the count is
   9 * in * out * (pixels of the output).
2. Check that with 19 and 29 channels on 4 px: 9 * 19 * 29 * 4 = 19,836, which a trace confirms.
3. Put in the stem's own sizes: at 224 px its output has 112 x 112 px, and
   9 * 3 * 32 * 112^2 = 10,838,016 is its cost.

In general: fvcore counts a convolution's multiply-adds as the pixels of its output times the
elements of its kernel. So a layer's count is a sum of products of its widths (in, out, expanded,
squeezed, ...), each times the pixels of one of the maps inside it; the layer's windows give the
sizes of these maps. Layers that differ only in widths are of one kind. A kind is traced once with
small primes as its widths: the factors of fvcore's count of an operator show which widths that
operator multiplies. A second trace, with other primes on another map, must agree with the law. If
it does not, the layer is traced with its own widths; if that gives no law either, it is traced at
the exact shape asked for.

Nothing here depends on a block: every coefficient comes from a trace.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from scaler.tracing import Trace, trace_operators
from search_spaces.blocks import Conventions, Layer
from search_spaces.blocks.window import sizes_along

_LARGEST = 64  # px: maps of equal sizes up to here count as one
_WIDTHS = ("channels", "features", "widths")  # names of widths, and ends of names
# No area of a kernel or a pool is a multiple of these. Their gaps differ, so that a sum or
# difference of widths within a layer cannot look like a product in both traces.
FIRST = (17, 23, 31, 41, 53, 67, 79, 97, 113, 137, 157, 179, 199, 229, 257, 281)
SECOND = (19, 29, 37, 59, 61, 83, 101, 103, 149, 163, 181, 223, 227, 251, 293, 311)

NUMBERED = 1 << 30  # the widths of a kind are numbered from here: no number of groups is so large

Term = tuple[tuple[int, ...], int | None]  # the widths multiplied; the map (None: fixed)


@dataclass(frozen=True)
class Law:
    """The cost of one layer: a fixed part, then a part for each pixel of each of its maps."""

    layer: Layer
    params: int
    flops: tuple[int, ...]
    activations: tuple[int, ...]

    def at(self, size: int) -> tuple[int, int]:
        """FLOPs and activations for an input of `size` px."""
        areas = [1, *(side**2 for side in map_sides(self.layer, size))]
        flops, activations = (
            sum(count * area for count, area in zip(counts, areas, strict=True))
            for counts in (self.flops, self.activations)
        )
        return flops, activations


@dataclass(frozen=True)
class _Counts:
    """Coefficients of the products of widths, for FLOPs, activations and parameters."""

    flops: dict[Term, Fraction]
    activations: dict[Term, Fraction]
    params: dict[Term, Fraction]


@lru_cache(maxsize=65_536)
def law_of(layer: Layer, conventions: Conventions) -> Law | None:
    """The layer's law; None if its traces agree with no law."""
    widths = widths_of(layer)
    kind = renamed(layer, widths, range(NUMBERED, NUMBERED + len(widths)))
    counts = None
    if len(widths) <= len(FIRST):
        counts = _kind_counts(kind, grain_of(layer), conventions)
    if counts is None:
        return _own_law(layer, conventions)
    return _law(layer, counts, widths)


@lru_cache(maxsize=4096)
def _kind_counts(kind: Layer, grain: int, conventions: Conventions) -> _Counts | None:
    """Trace a layer of the kind with two sets of primes in place of its numbered widths."""
    sizes = telling_sizes(kind)
    if len(sizes) < 2:
        return None
    numbers = widths_of(kind)
    first, second = (
        [grain * prime for prime in primes[: len(numbers)]] for primes in (FIRST, SECOND)
    )
    try:
        layer = renamed(kind, numbers, first)
        trace = _trace(layer, sizes[0], conventions)
        counts = _factored(trace, map_sides(layer, sizes[0]), first, grain)
        other = renamed(kind, numbers, second)
        confirmed = _agrees(_law(other, counts, second), sizes[1], conventions)
    except (ValueError, RuntimeError, AssertionError):  # a module for which these widths do not fit
        return None
    return counts if confirmed else None


def _own_law(layer: Layer, conventions: Conventions) -> Law | None:
    sizes = telling_sizes(layer)
    if len(sizes) < 2:
        return None
    trace = _trace(layer, sizes[0], conventions)
    law = _law(layer, _factored(trace, map_sides(layer, sizes[0]), [], 1), [])
    return law if _agrees(law, sizes[1], conventions) else None


def _trace(layer: Layer, size: int, conventions: Conventions) -> Trace:
    return trace_operators(layer.build(conventions), (layer.in_channels, size, size))


def _factored(trace: Trace, sides: list[int], widths: list[int], grain: int) -> _Counts:
    """The trace's counts as sums over terms; `widths` are primes times `grain`."""

    def collect(counted: Iterable[tuple[int, int]]) -> dict[Term, Fraction]:
        """Takes (count, side of the map or 1) of each operator; without a map it is fixed."""
        terms: dict[Term, Fraction] = {}
        for count, side in counted:
            where = sides.index(side) if side in sides else None
            pixels = 1 if where is None else side**2
            if count % pixels:
                raise ValueError(f"{count} is no multiple of {pixels} pixels")
            product, coefficient = factored(count // pixels, widths, grain)
            terms[product, where] = terms.get((product, where), Fraction(0)) + coefficient
        return terms

    return _Counts(
        flops=collect((operator.flops, operator.side) for operator in trace.operators),
        activations=collect((operator.activations, operator.side) for operator in trace.operators),
        params=collect((weight, 0) for weight in trace.weights),
    )


def factored(count: int, widths: list[int], grain: int) -> tuple[tuple[int, ...], Fraction]:
    """Which of `widths` (primes times `grain`) a count multiplies, and the remaining factor."""
    found, rest = [], count
    for number, width in enumerate(widths):
        while rest and rest % (width // grain) == 0:
            found.append(number)
            rest //= width // grain
    return tuple(found), Fraction(rest, grain ** len(found))


def _law(layer: Layer, counts: _Counts, widths: list[int]) -> Law:
    """`counts` with `widths` put in. Raises ValueError unless that gives whole numbers."""
    params, flops, activations = (
        put_in(terms, layer, widths) for terms in (counts.params, counts.flops, counts.activations)
    )
    return Law(layer, params[0], flops, activations)


def put_in(terms: dict[Term, Fraction], layer: Layer, widths: list[int]) -> tuple[int, ...]:
    """The fixed part, then the part for each pixel of each map; ValueError unless whole."""
    sums = [Fraction(0)] * (1 + len(_maps(layer)))
    for (product, where), coefficient in terms.items():
        value = coefficient * math.prod(widths[number] for number in product)
        sums[0 if where is None else where + 1] += value
    if any(value.denominator != 1 for value in sums):
        raise ValueError("not a whole number")
    return tuple(int(value) for value in sums)


def _agrees(law: Law, size: int, conventions: Conventions) -> bool:
    """Whether a trace at `size` agrees with the law, also in map size and parameters."""
    trace = _trace(law.layer, size, conventions)
    traced = (
        sum(operator.flops for operator in trace.operators),
        sum(operator.activations for operator in trace.operators),
    )
    mapped = len(trace.output_shape) == 3  # a head gives no map
    side = trace.output_shape[-1] if mapped else law.layer.output_size(size)
    same = law.at(size) == traced and law.layer.output_size(size) == side
    return same and law.params == sum(trace.weights)


def map_sides(layer: Layer, size: int) -> list[int]:
    """Sides of the layer's distinct maps for an input of `size` px."""
    return [sizes_along(path, size)[-1] for path in _maps(layer)]


@lru_cache(maxsize=65_536)
def _maps(layer: Layer) -> tuple[Any, ...]:
    """A path to each distinct map inside the layer; equal strides and trims give one map."""
    seen: dict[tuple[tuple[int, int, str], ...], Any] = {}
    for path in layer.paths:
        shrunk: tuple[tuple[int, int, str], ...] = ()
        seen.setdefault(shrunk, ())
        for i, window in enumerate(path, start=1):
            step: tuple[int, int, str] | tuple[()]
            if window.padding == "symmetric":
                step = (0, window.stride, "") if window.stride > 1 else ()
            else:
                step = (max(window.kernel), window.stride, window.padding)
            shrunk = (*shrunk, step) if step else shrunk
            seen.setdefault(shrunk, path[:i])
    return tuple(seen.values())


@lru_cache(maxsize=4096)
def telling_sizes(layer: Layer) -> list[int]:
    """Two small input sizes at which the layer's maps differ most, and all have several pixels."""
    telling: dict[int, int] = {}
    for size in range(2, _LARGEST + 1):
        try:
            sides = map_sides(layer, size)
        except ValueError:  # smaller than the layer's windows and strides
            continue
        if min(sides) > 1:
            telling[size] = len(set(sides))
    most = max(telling.values(), default=0)
    return [size for size, distinct in telling.items() if distinct == most][:2]


def widths_of(layer: Layer) -> list[int]:
    """The layer's distinct widths, ascending; widths that are equal are so in all of its kind."""
    found: set[int] = set()

    def note(width: int) -> int:
        found.add(width)
        return width

    _replaced(layer, note)
    return sorted(found)


def renamed(layer: Layer, widths: list[int], others: Iterable[int]) -> Layer:
    """The layer with each of its widths replaced; their order by size stays."""
    return _replaced(layer, dict(zip(widths, others, strict=True)).__getitem__)


def _replaced(layer: Layer, width: Callable[[int], int]) -> Layer:
    arguments = tuple(
        (name, _mapped(value, name, layer.in_channels, width)) for name, value in layer.arguments
    )
    return replace(
        layer,
        in_channels=width(layer.in_channels),
        out_channels=width(layer.out_channels),
        arguments=arguments,
    )


def _mapped(value: Any, name: str, channels: int, width: Callable[[int], int]) -> Any:
    """An argument with `width` applied to every width in it, 0 (no such part) left alone."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        own = getattr(value, "channels", channels)
        fields = {n: _mapped(getattr(value, n), n, own, width) for n in value._fields}
        return type(value)(**fields)
    if isinstance(value, tuple):
        return tuple(_mapped(item, name, channels, width) for item in value)
    depthwise = name == "groups" and value == channels and value > 1
    if isinstance(value, int) and value and (name.endswith(_WIDTHS) or depthwise):
        return width(value)
    return value


def grain_of(layer: Layer) -> int:
    """The number that widths must be multiples of, for the groups of convolutions."""
    groups: list[int] = [1]

    def note(value: Any, name: str, channels: int) -> None:
        if isinstance(value, tuple):
            names = getattr(value, "_fields", (name,) * len(value))
            own = getattr(value, "channels", channels)
            for part, item in zip(names, value, strict=True):
                note(item, part, own)
        elif name == "groups" and value != channels:
            groups.append(value)

    for name, value in layer.arguments:
        note(value, name, layer.in_channels)
    return math.lcm(*groups)
