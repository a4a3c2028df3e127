"""The member within bounds that meets a budget and is nearest to the rule: steps around a shape.

`scaler.solver` describes the order of the steps.
"""

import math
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

import numpy as np
from scipy.optimize import brentq

from scaler.budget import OF_WEIGHTS, Budget, CostName
from scaler.compound import CompoundCoefficients
from scaler.shapes import Bounds, Rule, Shape, Shapes, factors_of
from search_spaces.architecture import Architecture
from search_spaces.resizing import smallest_resolution

# Of members equally near to the rule, the one whose places grow alike is preferred. A mean square
# of .05 of the places' logarithms (16 channels become 24 in place of 19) counts as much as one
# factor that is 1 % off the rule.
_EVEN = 0.002
_ON_THE_RULE = 0.005**2  # within half a per cent in all: no further round
_ROUNDS = 3  # times that a shape is improved; the first is usually enough
_TRIED = 6  # shapes that are measured in a round
_THREE = 40  # with more single steps than this, at most two are combined
_PIXELS = 0.08  # range of resolutions around the rule's, on a logarithmic scale
_FAR, _FAR_STEP = 1.2, 0.1  # how far from the rule to look because of limits: |ln| of a factor
_HOPEFUL = 3  # shapes far from the rule from which small steps are tried
_STRETCH = 1.4  # factor by which a resolution may be over or under the rule's


@dataclass(frozen=True)
class MeasuredMember:
    """A measured member: its squared distance from the rule, without and with unevenness."""

    off: float
    score: float
    shape: Shape
    member: Architecture
    value: float


def _powers(cost: CostName) -> tuple[float, float, float]:
    """Exponents of a cost in depth, width and resolution, before rounding."""
    if cost in OF_WEIGHTS:
        return 1.0, 2.0, 0.0
    if cost == "peak_ram":  # the worst layer's, for any number of layers
        return 0.0, 1.0, 2.0
    return (1.0, 1.0, 2.0) if cost == "activations" else (1.0, 2.0, 2.0)


def growth_of(coefficients: CompoundCoefficients, cost: CostName) -> float:
    """The factor by which a unit of phi multiplies a cost, before rounding."""
    pairs = zip(coefficients, _powers(cost), strict=True)
    return math.prod(value**power for (_, value), power in pairs)


@dataclass
class Search:
    """The search of `solve` within bounds; `free` are the dimensions that may change."""

    baseline: Architecture
    budget: Budget
    rule: Rule
    bounds: Bounds
    free: tuple[bool, bool, bool]
    pixels: int
    seen: list[tuple[Architecture, float]]
    shapes: Shapes = field(init=False)
    least_size: int = field(init=False)
    centre: tuple[float, float] = (1.0, 1.0)  # factors of depth and width that places should have
    pure: float | None = None  # the rule's resolution in pixels at the target, before rounding

    def __post_init__(self) -> None:
        """Sets the shapes within the bounds, and the least resolution that the strides allow."""
        self.shapes = Shapes(self.baseline, self.bounds)
        self.least_size = smallest_resolution(self.baseline)

    @property
    def sizes(self) -> tuple[int, int]:
        """The least and the largest allowed resolution near the rule's."""
        low, high = self.least_size, 10**6
        if self.bounds.least is not None:
            low = self.bounds.least.resolution
        if self.bounds.most is not None:
            high = self.bounds.most.resolution
        if math.isfinite(self.rule.cap):
            high = min(high, math.floor(self.baseline.resolution * self.rule.cap + 1e-9))
        if self.pure is not None:
            low = max(low, min(high, math.floor(self.pure / _STRETCH)))
            high = min(high, math.ceil(self.pure * _STRETCH))
        return low, max(low, high)

    def near(self) -> MeasuredMember | None:
        """The member nearest to the rule, of those around the rule."""
        depth, width, growth = self._begun()
        return self.improve(self.shapes.nearest(*self._freely(depth, width)), self._size(growth))

    def _begun(self) -> tuple[float, float, float]:
        """The rule's factors at the target, where the search for members starts."""
        depth, width, growth = self.rule.factors(self.start())
        self.centre, self.pure = (depth, width), self.baseline.resolution * growth
        return depth, width, growth

    def far(self) -> MeasuredMember | None:
        """The nearest member farther from the rule, looked for in a widening ring."""
        depth, width, growth = self._begun()
        count = round(_FAR / _FAR_STEP)
        strays = [_FAR_STEP * i for i in range(-count, count + 1)]
        points = [p for p in product(strays, strays) if abs(p[0]) + abs(p[1]) <= _FAR]
        tried: dict[Shape, MeasuredMember | None] = {}
        best: MeasuredMember | None = None
        for x, y in sorted(points, key=lambda p: (p[0] ** 2 + p[1] ** 2, p)):
            if best is not None and x**2 + y**2 >= best.score:
                break
            factors = self._freely(depth * math.exp(x), width * math.exp(y))
            shape = self.shapes.nearest(*factors)
            if shape in tried:
                continue
            found = tried[shape] = self._meeting(shape, self._size(growth))
            if found is not None and self._will_do(found):
                best = min(best or found, found, key=lambda one: one.score)
        if best is not None:
            return self.improve(best.shape, best.member.resolution)
        hopeful = [found for found in tried.values() if found and not self._hopeless(found)]
        for found in sorted(hopeful, key=lambda one: self.budget.miss(one.value))[:_HOPEFUL]:
            best = self.improve(found.shape, found.member.resolution)
            if best is not None:
                return best
        return None

    def improve(self, shape: Shape, size: int) -> MeasuredMember | None:
        """The best member reached from `shape`, round by round; None if none is a solution."""
        best: MeasuredMember | None = None
        least = math.inf  # by how much the nearest member outside the tolerance misses
        for _ in range(_ROUNDS):
            tried = self._around(shape, size)
            good = [found for found in tried if self._will_do(found)]
            if good:
                found = min(good, key=lambda one: one.score)
                if best is not None and found.score >= best.score - 1e-7:
                    break
                best = found
                if best.off <= _ON_THE_RULE:
                    break
            elif best is not None or not tried:
                break
            else:
                found = min(tried, key=lambda one: self.budget.miss(one.value))
                if self.budget.miss(found.value) >= least:
                    break
                least = self.budget.miss(found.value)
            shape, size = found.shape, found.member.resolution
        return best

    def _around(self, shape: Shape, size: int) -> list[MeasuredMember]:
        """Measures the members near `shape` that are probably nearest to the rule."""
        centre = self._measured(shape, size)
        if centre is None:
            return []
        depth, width, _ = self.free
        steps = [
            found
            for step in self.shapes.moves(shape, depth=depth, width=width)
            if (found := self._measured(step, size)) is not None
        ]
        chosen = _subsets(len(steps))

        def summed(values: list[float]) -> Any:
            """For each subset of steps the centre's value plus the changes of its steps."""
            changes = np.array([*(value - values[0] for value in values[1:]), 0.0])
            return values[0] + changes[chosen].sum(axis=1)

        members = [centre, *steps]
        reached = [factors_of(one.member, self.baseline) for one in members]
        layers, channels = (summed([factors[i] for factors in reached]) for i in (0, 1))
        uneven = summed([self.shapes.unevenness(one.shape, *self.centre) for one in members])
        value = summed([one.value for one in members])
        wrong = (layers <= 0) | (channels <= 0) | (value <= 0)
        layers, channels, value = (np.where(wrong, 1.0, v) for v in (layers, channels, value))
        sizes, costs = self._table(centre)
        place, miss = self._sized(layers, channels, value / centre.value, sizes, costs)
        growth = np.array(sizes)[place] / self.baseline.resolution
        score = self.rule.nearest(layers, channels, growth)[1] + _EVEN * uneven
        for name, limit in self.budget.limits.items():
            if name != "latency":
                held = summed([self.budget.value(one.member, name) for one in members])
                area = (
                    1.0 if name in OF_WEIGHTS else (growth * self.baseline.resolution / size) ** 2
                )
                miss = np.maximum(miss, held * area / limit - 1)
        order = np.lexsort((score + np.where(wrong, np.inf, 0), np.maximum(miss, 0)))
        tried = [centre] if self.budget.miss(centre.value) <= self.budget.tolerance else []
        for subset in order[:_TRIED]:
            taken = [steps[k].shape for k in chosen[subset] if k < len(steps)]
            together = _together(shape, taken)
            one = self._meeting(together, sizes[place[subset]])
            if one is not None:
                tried.append(one)
        return tried

    def _sized(
        self, layers: Any, channels: Any, ratio: Any, sizes: list[int], costs: Any
    ) -> tuple[Any, Any]:
        """For each subset the index of its best resolution, and by how much that misses (0: in)."""
        tolerance = 0.9 * self.budget.tolerance  # the cost of several steps together is estimated
        target = self.budget.target / ratio
        low = np.searchsorted(costs, target * (1 - tolerance), side="left")
        high = np.searchsorted(costs, target * (1 + tolerance), side="right") - 1
        wished = self.rule.growth_with(layers, channels) * self.baseline.resolution
        inside = np.clip(np.searchsorted(sizes, wished - self.pixels / 2), low, high)
        place = np.clip(np.where(low <= high, inside, high), 0, len(sizes) - 1)
        miss = np.abs(costs[place] / target - 1) - tolerance
        return place, np.maximum(miss, 0)

    def _table(self, centre: MeasuredMember) -> tuple[list[int], Any]:
        """Resolutions around the centre's, and the cost of the centre's shape at each."""
        size = centre.member.resolution
        if not self.free[2]:
            return [size], np.array([centre.value], dtype=float)
        low, high = self.sizes
        reach = max(4 * self.pixels, round(size * _PIXELS))
        sizes = [
            s
            for s in range(max(low, size - reach), min(high, size + reach) + 1)
            if s % self.pixels == 0 or s in (size, self.baseline.resolution)
        ]
        few = sizes[:: max(1, len(sizes) // 24)]
        few = sorted({*few, size, sizes[-1]})
        costs = [
            centre.value if s == size else self.budget.value(centre.member.replace(resolution=s))
            for s in few
        ]
        return sizes, np.maximum.accumulate(np.interp(sizes, few, costs))

    def _measured(self, shape: Shape, size: int) -> MeasuredMember | None:
        """The member of that shape; None if its parts do not fit together."""
        try:
            member = self.shapes.member(shape, size)
        except ValueError:
            return None
        value = self.budget.value(member)
        off = float(self.rule.nearest(*factors_of(member, self.baseline))[1])
        score = off + _EVEN * self.shapes.unevenness(shape, *self.centre)
        self.seen.append((member, value))
        return MeasuredMember(off, score, shape, member, value)

    def _meeting(self, shape: Shape, size: int) -> MeasuredMember | None:
        """The member of the shape at the resolution nearest to `size` that meets the target."""
        found = self._measured(shape, size)
        tried = {size}
        sized = self.free[2] and self.budget.cost not in OF_WEIGHTS
        while found is not None and sized and len(tried) < 5:
            if self.budget.miss(found.value) <= self.budget.tolerance:
                break
            # The cost is about proportional to the maps' area, but not exactly: sides are rounded.
            wished = found.member.resolution * math.sqrt(self.budget.target / found.value)
            guess = self._rounded(wished)
            if guess in tried:
                break
            tried.add(guess)
            found = self._measured(shape, guess)
        return found

    def _will_do(self, found: MeasuredMember) -> bool:
        near = self.budget.miss(found.value) <= self.budget.tolerance
        return near and self.bounds.hold(found.member) and self.budget.fits(found.member)

    def _hopeless(self, found: MeasuredMember) -> bool:
        """Whether the member is so far over a limit that no small step can correct it."""
        return any(
            self.budget.value(found.member, name) > 1.1 * limit
            for name, limit in self.budget.limits.items()
            if name != "latency"
        )

    def start(self) -> float:
        """The phi at which the rule costs the target, with the cost that rounding adds removed."""
        powers = _powers(self.budget.cost)
        target = math.log(self.budget.target)

        def over(phi: float) -> float:
            depth, width, growth = self.rule.factors(phi)
            shape = self.shapes.nearest(*self._freely(depth, width))
            member = self.shapes.member(shape, self._size(growth))
            reached = factors_of(member, self.baseline)
            pairs = zip((depth, width, growth), reached, powers, strict=True)
            rounded = sum(power * math.log(asked / got) for asked, got, power in pairs)
            return math.log(self.budget.value(member)) + max(-0.3, min(0.3, rounded)) - target

        step = 1 / math.log(growth_of(self.rule.coefficients, self.budget.cost))
        guess = (target - math.log(self.budget.value(self.baseline))) * step
        low, high = guess - 0.3 * step, guess + 0.3 * step
        for _ in range(12):
            if over(low) <= 0:
                break
            low -= step
        for _ in range(12):
            if over(high) >= 0:
                break
            high += step
        if over(low) > 0 or over(high) < 0:
            return guess
        return float(brentq(over, low, high, xtol=0.01 * step))

    def _freely(self, depth: float, width: float) -> tuple[float, float]:
        """The factors; 1 if the dimension must stay."""
        return (depth if self.free[0] else 1.0), (width if self.free[1] else 1.0)

    def _size(self, growth: float) -> int:
        size = self.baseline.resolution
        return self._rounded(size * growth) if self.free[2] else size

    def _rounded(self, size: float) -> int:
        low, high = self.sizes
        whole = round(size / self.pixels) * self.pixels
        return min(max(whole, low), high)


def _subsets(count: int) -> Any:
    """Rows of up to three of `count` steps, `count` itself meaning none."""
    most = 3 if count <= _THREE else 2
    rows = [
        (*chosen, *[count] * (most - size))
        for size in range(most + 1)
        for chosen in combinations(range(count), size)
    ]
    return np.array(rows, dtype=int)


def _together(shape: Shape, steps: list[Shape]) -> Shape:
    """All the steps away from `shape`, taken together."""
    layers, widths = list(shape.layers), list(shape.widths)
    for step in steps:
        for i, (new, old) in enumerate(zip(step.layers, shape.layers, strict=True)):
            if new != old:
                layers[i] = new
        for i, (there, here) in enumerate(zip(step.widths, shape.widths, strict=True)):
            if there != here:
                widths[i] = there
    return Shape(tuple(layers), tuple(widths))
