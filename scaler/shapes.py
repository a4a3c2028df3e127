"""Shapes of a scaled network: whole layers and channels, and how near they come to the rule.

A place is the stem, a stage or the head. Each place is rounded on its own: its widths grow by its
own factor to multiples of 8, and a step goes to the next factor that gives other widths. So five
stages of one layer can get six layers in all if the rule says 1.2 times as many.

How far a member is off the rule is the root of the sum of the squares of the logarithms of its
depth, width and resolution over the rule's, at the phi that makes this least. A factor counts the
same in every dimension.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scaler.compound import CompoundCoefficients
from search_spaces.architecture import Architecture
from search_spaces.resizing import Widened, place_widths, reshape

_GRID = 8  # channels are multiples of it


def factors_of(member: Architecture, baseline: Architecture) -> tuple[float, float, float]:
    """Layers, mean channels of the stages and pixels of `member` over the baseline's.

    Pools and reductions, which cannot be repeated, do not count as layers.
    """
    pairs = list(zip(member.stages, baseline.stages, strict=True))
    repeated = [(m.layers, b.layers) for m, b in pairs if b.block.fixed_layers is None]
    layers = sum(m for m, _ in repeated) / sum(b for _, b in repeated) if repeated else 1.0
    channels = sum(m.channels / b.channels for m, b in pairs) / len(pairs)
    return layers, channels, member.resolution / baseline.resolution


@dataclass(frozen=True)
class Rule:
    """The line of the factors (alpha, beta, gamma)^phi, its resolution at most `cap` times."""

    coefficients: CompoundCoefficients
    cap: float = math.inf

    def factors(self, phi: float) -> tuple[float, float, float]:
        """Depth, width and resolution of the rule at `phi`, before rounding."""
        depth, width, growth = self.coefficients.factors(phi)
        return depth, width, min(growth, self.cap)

    def growth_with(self, depth: Any, width: Any) -> Any:
        """The factor of resolution that fits these factors of depth and width best."""
        a, b, g = self._logs
        if not (a or b):
            return np.ones_like(depth)
        phi = (a * np.log(depth) + b * np.log(width)) / (a * a + b * b)
        return np.minimum(np.exp(g * phi), self.cap)

    @property
    def _logs(self) -> tuple[float, float, float]:
        a, b, g = (math.log(value) for _, value in self.coefficients)
        return a, b, g

    def nearest(self, depth: Any, width: Any, growth: Any) -> tuple[Any, Any]:
        """The phi at which the rule is nearest to these factors, and the squared distance."""
        a, b, g = self._logs
        x, y, z = (np.log(np.asarray(factor, dtype=float)) for factor in (depth, width, growth))
        phi = (a * x + b * y + g * z) / (a * a + b * b + g * g)
        off = (x - a * phi) ** 2 + (y - b * phi) ** 2 + (z - g * phi) ** 2
        if g and math.isfinite(self.cap):
            least = math.log(self.cap) / g  # from here on the resolution stays
            capped = (a * x + b * y) / (a * a + b * b) if a or b else least
            capped = np.maximum(capped, least)
            kept = (x - a * capped) ** 2 + (y - b * capped) ** 2 + (z - math.log(self.cap)) ** 2
            phi = np.where(phi > least, capped, phi)
            off = np.where(phi > least, kept, off)
        return phi, off


@dataclass(frozen=True)
class Shape:
    """Layers of each stage, and a factor of width for each place."""

    layers: tuple[int, ...]
    widths: tuple[float, ...]


@dataclass(frozen=True)
class Bounds:
    """The members that bound a member in every dimension of every place (None: no bound)."""

    least: Architecture | None = None
    most: Architecture | None = None

    def hold(self, member: Architecture) -> bool:
        """Whether no dimension of the member is below `least` or above `most`."""
        low = self.least is None or dominates(member, self.least)
        return low and (self.most is None or dominates(self.most, member))


def dominates(big: Architecture, small: Architecture) -> bool:
    """Whether `big` has at least the layers, the channels and the pixels of `small` everywhere."""
    pairs = zip(_sizes(big), _sizes(small), strict=True)
    return all(b >= s for b, s in pairs)


def _sizes(member: Architecture) -> list[int]:
    stages = [size for stage in member.stages for size in (stage.layers, stage.channels)]
    return [member.resolution, member.stem.channels, member.head.channels or 0, *stages]


def _channels(value: int, factor: float) -> int:
    """The multiple of 8 nearest to `value * factor`; not below `value` if the factor is above 1."""
    if factor == 1:
        return value
    rounded = max(_GRID, math.floor(value * factor / _GRID + 0.5) * _GRID)
    return max(value, rounded) if factor > 1 else min(value, rounded)


class Shapes:
    """The shapes that a baseline may be given, within bounds."""

    def __init__(self, baseline: Architecture, bounds: Bounds) -> None:
        """`baseline` has the factor 1 everywhere."""
        self.baseline = baseline
        self.bounds = bounds
        self._widths = place_widths(baseline)
        stages = baseline.stages
        self._fixed = [stage.block.fixed_layers is not None for stage in stages]
        least, most = bounds.least, bounds.most
        self._least = [s.layers for s in least.stages] if least else [1] * len(stages)
        self._most = [s.layers for s in most.stages] if most else [10**6] * len(stages)
        # `least` may be the member before: each place has at least its channels.
        self._at_least = place_channels(least) if least else [0] * len(self._widths)
        self._at_most = place_channels(most) if most else [10**9] * len(self._widths)

    def member(self, shape: Shape, resolution: int) -> Architecture:
        """The baseline in that shape. Raises InputError if widths or maps do not fit."""
        return reshape(
            self.baseline,
            layers=shape.layers,
            widenings=[Widened(_channels, factor) for factor in shape.widths],
            resolution=resolution,
        )

    def nearest(self, depth: float, width: float) -> Shape:
        """The shape nearest to the two factors; places with the largest remainder round up."""
        return Shape(self._layers(depth), self._factors(width))

    def _layers(self, depth: float) -> tuple[int, ...]:
        counts = [stage.layers for stage in self.baseline.stages]
        if depth == 1:
            return tuple(counts)
        wished = [n if f else n * depth for n, f in zip(counts, self._fixed, strict=True)]
        layers = [
            min(max(low, math.floor(w + 1e-9)), high)  # 2.2 * 25 is over 55 by float dust
            for w, low, high in zip(wished, self._least, self._most, strict=True)
        ]
        for _ in range(len(layers)):
            due = [
                -math.inf if fixed or n >= high else w - n
                for w, n, high, fixed in zip(wished, layers, self._most, self._fixed, strict=True)
            ]
            if sum(wished) - sum(layers) < 0.5 or max(due) <= 0:
                break
            layers[due.index(max(due))] += 1
        return tuple(layers)

    def _factors(self, width: float) -> tuple[float, ...]:
        if width == 1:
            return (1.0,) * len(self._widths)
        factors = [self._within(place, width) for place in range(len(self._widths))]
        places = range(1, len(factors) - 1)
        for _ in places:
            reached = [
                _channels(self._widths[p][0], factors[p]) / self._widths[p][0] for p in places
            ]
            off = sum(reached) / len(reached) - width
            place = 1 + reached.index(min(reached) if off < 0 else max(reached))
            stepped = self._stepped(place, factors[place], up=off < 0)
            if stepped is None:
                break
            v = self._widths[place][0]
            change = (_channels(v, stepped) / v - reached[place - 1]) / len(reached)
            if abs(off + change) >= abs(off):
                break
            factors[place] = stepped
        return tuple(factors)

    def moves(self, shape: Shape, *, depth: bool, width: bool) -> Iterator[Shape]:
        """The shapes one step away: a layer more or less, or a place's next rounding."""
        for i, (n, fixed) in enumerate(zip(shape.layers, self._fixed, strict=True)):
            for stepped in (n - 1, n + 1):
                if depth and not fixed and self._least[i] <= stepped <= self._most[i]:
                    yield replace(shape, layers=_put(shape.layers, i, stepped))
        for place, factor in enumerate(shape.widths):
            for up in (False, True):
                there = self._stepped(place, factor, up=up) if width else None
                if there is not None:
                    yield replace(shape, widths=_put(shape.widths, place, there))

    def unevenness(self, shape: Shape, depth: float, width: float) -> float:
        """How differently the places grow: mean squares of the logarithms of growth over factor."""
        layers = [
            math.log(n / (stage.layers * depth)) ** 2
            for n, stage, fixed in zip(shape.layers, self.baseline.stages, self._fixed, strict=True)
            if not fixed
        ]
        widths = [
            math.log(_channels(v, f) / (v * width)) ** 2
            for values, f in zip(self._widths, shape.widths, strict=True)
            for v in values
        ]
        return sum(layers) / max(1, len(layers)) + sum(widths) / max(1, len(widths))

    def _within(self, place: int, factor: float) -> float:
        """The factor, or the nearest one that the bounds allow the place."""
        if not self._widths[place]:
            return factor
        value = self._widths[place][0]
        if _channels(value, factor) < self._at_least[place]:
            return self._at_least[place] / value
        if _channels(value, factor) > self._at_most[place]:
            return self._at_most[place] / value
        return factor

    def _stepped(self, place: int, factor: float, *, up: bool) -> float | None:
        """The next factor that gives a width of the place another value; None beyond bounds."""
        values = self._widths[place]
        if not values:
            return None
        now = [_channels(value, factor) for value in values]
        beside = factor == 1  # a width that is no multiple of 8 first goes to one that is
        for _ in range(20):
            edges = sorted({edge for v in values for edge in _edges(v, factor, up)}, reverse=not up)
            factor = (edges[0] + edges[1]) / 2 if not beside else 1 + (1e-6 if up else -1e-6)
            beside = False
            if factor <= 0:
                return None
            there = [_channels(value, factor) for value in values]
            if there != now:
                low, high = self._at_least[place], self._at_most[place]
                return factor if low <= there[0] <= high else None
        return None


def _edges(value: int, factor: float, up: bool) -> list[float]:
    """The next two factors, up or down, that round `value` to another number."""
    step = math.floor(value * factor / _GRID + 0.5)
    edges = (step + 0.5, step + 1.5) if up else (step - 0.5, step - 1.5)
    return [edge * _GRID / value for edge in edges]


def _put(values: tuple[Any, ...], place: int, value: Any) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place + 1 :])


def place_channels(member: Architecture) -> list[int]:
    """Channels of the stem, of each stage and of the head (0 where it adds none)."""
    stages = [stage.channels for stage in member.stages]
    return [member.stem.channels, *stages, member.head.channels or 0]
