"""How a budget is solved for: which rounding of depth, width and resolution costs just so much.

1. Find the phi at which the rule's own member, rounded, crosses the target (`_crossing`).
2. Rounding leaves gaps there: B0's layers and channels are whole numbers, so its family has no
   member at most costs. List the roundings of depth and width near that phi (`shapes_near`), the
   one that strays least from the rule first.
3. For each of them search the resolution that meets the target (`_at_resolutions`). Of the members
   within the tolerance and the limits, the one that strays least wins. A shape that strays more
   than the winner cannot win, so the search stops there (`_best`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from scaler.budget import Budget
from scaler.compound import MOST, CompoundCoefficients
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.resizing import (
    RoundingName,
    deepened,
    resize,
    rounding_of,
    smallest_resolution,
    stage_widths,
)

# Where depth and width are looked for: strays over, up to; step. The second ring is far from the
# rule and for where nothing near will do: within limits, or where a head or a tiny map ties the
# resolution down. Strays are |ln| of a factor, so 0.3 is a factor of 1.35, 1.2 one of 3.3.
_RINGS = ((-1.0, 0.3, 0.01), (0.3, 1.2, 0.03))
_SLACK = 1.2  # a guess at a cost from the map's area may be wrong by this factor
_MOST_MEASURED = 24  # members whose latency is measured: each takes seconds of real time
_LEAST_EXPONENT = -30  # of e: a factor that makes any dimension its smallest


@dataclass(frozen=True)
class Shape:
    """Factors of depth and width that round to one shape, and how far it strays from the rule."""

    stray: float
    depth: float
    width: float


def solve(
    baseline: Architecture,
    budget: Budget,
    *,
    coefficients: CompoundCoefficients,
    rounding: RoundingName,
) -> tuple[Architecture, float]:
    """The member that meets the budget and strays least from the rule, and the rule's phi there.

    Raises InputError where there is none, with the reason.
    """
    if _growth(budget, coefficients) <= 1:
        flat = coefficients.growth <= 1
        raise InputError(
            "alpha, beta and gamma are all 1, so no phi adds FLOPs; raise one"
            if flat
            else "alpha and beta are 1, so no phi adds parameters; raise one"
        )
    value = budget.value(baseline)
    if budget.target > MOST * value:
        raise InputError(
            f"{budget.name} {budget.target:g} is over {MOST:,} times the baseline's "
            f"{value:,} {budget.unit}; start from a larger baseline"
        )
    if budget.miss(value) <= budget.tolerance and budget.fits(baseline):
        return baseline, 0.0
    solver = _Solver(baseline, budget, coefficients, rounding)
    low, high = solver.crossing()
    phi = (low + high) / 2
    pure = baseline.resolution * coefficients.factors(phi)[2]
    seen: list[tuple[Architecture, float]] = []
    for ring in _RINGS:
        shapes = shapes_near(baseline, coefficients, rounding, (low, high), ring)
        best = solver.best(shapes, pure, seen)
        if best is not None:
            return best, phi
    raise InputError(budget.explain(baseline.name, seen))


def _growth(budget: Budget, coefficients: CompoundCoefficients) -> float:
    """The factor by which a unit of phi multiplies the budget's cost, before rounding."""
    alpha, beta, gamma = (value for _, value in coefficients)
    if budget.cost == "params":
        return alpha * beta**2
    return alpha * beta * gamma**2 if budget.cost == "activations" else coefficients.growth


@dataclass(frozen=True)
class _Solver:
    """The search of `solve`: members of the baseline's family, tried against the budget."""

    baseline: Architecture
    budget: Budget
    coefficients: CompoundCoefficients
    rounding: RoundingName

    def member(self, depth: float, width: float, resolution: float) -> Architecture:
        """The baseline resized, with at least the pixels that its strides need."""
        pixels = max(self.least_resolution, round(resolution))
        return resize(
            self.baseline, depth=depth, width=width, resolution=pixels, rounding=self.rounding
        )

    @cached_property
    def least_resolution(self) -> int:
        """The smallest input, in pixels, that the baseline's strides allow."""
        return smallest_resolution(self.baseline)

    def crossing(self) -> tuple[float, float]:
        """A phi below and one above the target, where the rounded member's cost crosses it.

        By bisection, until they are 1 % of a doubling of the cost apart.
        """
        budget, size = self.budget, self.baseline.resolution

        def cost(phi: float) -> float:
            depth, width, growth = self.coefficients.factors(phi)
            return budget.value(self.member(depth, width, size * growth))

        # The smallest member: a dimension whose coefficient is 1 stays as it is.
        moved = (0.0 if c == 1 else _LEAST_EXPONENT for _, c in self.coefficients)
        depth, width, growth = (math.exp(exponent) for exponent in moved)
        floor = budget.value(self.member(depth, width, growth * size))
        if budget.target < floor:
            raise InputError(
                f"{budget.name} {budget.target:g} is below {floor:,}, "
                f"what the smallest member of '{self.baseline.name}' costs"
            )
        doubling = math.log(2) / math.log(_growth(budget, self.coefficients))
        low = high = math.log2(budget.target / budget.value(self.baseline)) * doubling
        while cost(low) > budget.target:
            high, low = low, low - doubling
        while cost(high) < budget.target:
            low, high = high, high + doubling
        while high - low > 0.01 * doubling:
            middle = (low + high) / 2
            low, high = (middle, high) if cost(middle) < budget.target else (low, middle)
        return low, high

    def best(
        self,
        shapes: list[Shape],
        pure: float,
        seen: list[tuple[Architecture, float]],
    ) -> Architecture | None:
        """The member of these shapes that meets the budget and strays least, if any does.

        `pure` is the rule's resolution before rounding. What is tried is added to `seen`.
        """
        best, least_stray = None, math.inf
        for shape in shapes:
            if shape.stray >= least_stray:  # those that follow stray at least as much
                break
            if self.budget.cost == "latency" and len(seen) >= _MOST_MEASURED:
                break
            for member, value in self._at_resolutions(shape, pure, room=least_stray - shape.stray):
                seen.append((member, value))
                total = shape.stray + _resolution_stray(member.resolution, pure)
                near = self.budget.miss(value) <= self.budget.tolerance
                if near and total < least_stray and self.budget.fits(member):
                    best, least_stray = member, total
        return best

    def _at_resolutions(
        self, shape: Shape, pure: float, *, room: float
    ) -> Iterator[tuple[Architecture, float]]:
        """Members of one shape with their costs, each resolution nearer to the target.

        The last two are the largest below the target and the smallest above it. The search ends
        earlier where a resolution strays further than `room` from the `pure` one: no use then.
        """
        budget = self.budget
        member = self.member(shape.depth, shape.width, pure)
        value = budget.value(member)
        yield member, value
        if budget.cost == "params" or self._hopeless(member, value):
            return
        low, high = max(self.least_resolution, math.floor(pure / 1.4)) - 1, math.ceil(pure * 1.4)
        while high - low > 1:
            size = member.resolution
            low, high = (max(low, size), high) if value < budget.target else (low, min(high, size))
            if high - low <= 1:
                return
            # The cost goes with the area of the maps; their sides are rounded, so it is a guess.
            guess = round(size * math.sqrt(budget.target / value))
            guess = min(max(guess, low + 1), high - 1)
            if abs(guess - size) > 1 and _resolution_stray(guess, pure) > room + 0.1:
                return
            member = self.member(shape.depth, shape.width, guess)
            value = budget.value(member)
            yield member, value

    def _hopeless(self, member: Architecture, value: float) -> bool:
        """Whether the member is over a limit, or will be when its resolution meets the target."""
        for name, limit in self.budget.limits.items():
            area = 1.0 if name == "params" else self.budget.target / value / _SLACK
            if self.budget.value(member, name) * area > limit:
                return True
        return False


def shapes_near(
    baseline: Architecture,
    coefficients: CompoundCoefficients,
    rounding: RoundingName,
    phis: tuple[float, float],
    ring: tuple[float, float, float],
) -> list[Shape]:
    """Each distinct rounding of depth and width near the rule, least stray first.

    `ring` holds how much the factors are off the rule's at least, at most, and in what steps. The
    stray is what rounding makes of that, against the rule's member on the nearer side of the
    crossing `phis`: |ln| of its layers and twice |ln| of its mean channels, as FLOPs go with
    depth * width^2.
    """
    least, most, step = ring
    depth, width, _ = coefficients.factors(sum(phis) / 2)
    rule, widths = rounding_of(rounding), stage_widths(baseline)

    def layers_at(factor: float) -> tuple[int, ...]:
        return tuple(deepened(stage, factor, rounding=rounding) for stage in baseline.stages)

    def channels_at(factor: float) -> tuple[int, ...]:
        return tuple(rule.channels(c, factor) for c in widths)

    count = round(most / step)
    steps = [math.exp(step * i) for i in range(-count, count + 1)]
    layers = [(factor, layers_at(depth * factor)) for factor in steps]
    channels = [(factor, channels_at(width * factor)) for factor in steps]
    # How far each distinct rounding is off the rule's member, on both sides of the crossing.
    off_layers: dict[tuple[int, ...], list[float]] = {}
    off_channels: dict[tuple[int, ...], list[float]] = {}
    for side in phis:
        rule_depth, rule_width, _ = coefficients.factors(side)
        deep, wide = sum(layers_at(rule_depth)), channels_at(rule_width)
        for n in {n for _, n in layers}:
            off_layers.setdefault(n, []).append(abs(math.log(sum(n) / deep)))
        for c in {c for _, c in channels}:
            mean = sum(abs(math.log(y / x)) for x, y in zip(wide, c, strict=True)) / len(wide)
            off_channels.setdefault(c, []).append(2 * mean)
    # Several factors round to one shape: the ones nearest to the rule stand for it.
    asked: dict[tuple[object, object], float] = {}
    shapes: dict[tuple[object, object], Shape] = {}
    for (d, n), (w, c) in product(layers, channels):
        off = abs(math.log(d)) + 2 * abs(math.log(w))
        if off <= most and off < asked.get((n, c), math.inf):
            asked[n, c] = off
            stray = min(x + y for x, y in zip(off_layers[n], off_channels[c], strict=True))
            shapes[n, c] = Shape(stray, depth * d, width * w)
    found = [shape for key, shape in shapes.items() if asked[key] > least]
    return sorted(found, key=lambda shape: (shape.stray, shape.depth, shape.width))


def _resolution_stray(resolution: int, pure: float) -> float:
    """As FLOPs go with the square of the resolution, |ln| counts twice."""
    return 2 * abs(math.log(resolution / pure))
