"""The solver of `scaler.budget`: the rounding of depth, width and resolution that costs so much."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from scaler.compound import MOST, CompoundCoefficients
from scaler.cost import Cost
from scaler.scaled import UNITS, CostName
from search_spaces.architecture import Architecture
from search_spaces.records import InputError, choose
from search_spaces.resizing import (
    RoundingName,
    deepened,
    resize,
    rounding_of,
    smallest_resolution,
    stage_widths,
)

# How far from the pure rule the solver looks for depth and width, and in what steps: far only where
# nothing near will do, as within limits, or where a head or a tiny map ties the resolution down.
_RINGS = ((-1.0, 0.3, 0.01), (0.3, 1.2, 0.03))  # strays over, up to; step
_SLACK = 1.2  # what a guess at a cost, from the map's area, may be wrong by
_MOST_MEASURED = 24  # members whose latency is measured, each in seconds of real time
Latency = Callable[[Architecture], float]  # seconds


@dataclass(frozen=True)
class Solver:
    """See `scale_to`; `measure` and `latency` say what an architecture costs."""

    baseline: Architecture
    target: float
    cost: CostName
    coefficients: CompoundCoefficients
    tolerance: float
    limits: dict[CostName, float]
    rounding: RoundingName
    measure: Callable[[Architecture], Cost]
    latency: Latency | None

    def __post_init__(self) -> None:
        choose(UNITS, self.cost, what="cost")
        if not (math.isfinite(self.target) and self.target > 0):
            raise InputError(f"{self.name} must be a positive number, but got {self.target:g}")
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance must lie between 0 and 1, but got {self.tolerance:g}")
        for name, limit in self.limits.items():
            choose(UNITS, name, what="limit")
            if not limit > 0:
                raise InputError(f"the limit of {name} must be positive, but got {limit:g}")
        if "latency" in (self.cost, *self.limits) and self.latency is None:
            raise InputError("a budget of latency needs `latency`, a function to seconds")
        if self.target > self.limits.get(self.cost, math.inf):
            raise InputError(
                f"{self.name} {self.target:g} is over the limit of {self.limits[self.cost]:g} "
                f"{UNITS[self.cost]}; lower one or raise the other"
            )
        if self._growth <= 1:
            raise InputError(self._flat())
        if self.target > MOST * self.value(self.baseline):
            raise InputError(
                f"{self.name} {self.target:g} is over {MOST:,} times the baseline's "
                f"{self.value(self.baseline):,} {UNITS[self.cost]}; start from a larger baseline"
            )

    @property
    def name(self) -> str:
        return f"target_{self.cost}"

    @property
    def _growth(self) -> float:
        """What a unit of phi multiplies the cost by, nominally."""
        alpha, beta, gamma = (value for _, value in self.coefficients)
        if self.cost == "params":
            return alpha * beta**2
        return alpha * beta * gamma**2 if self.cost == "activations" else self.coefficients.growth

    def _flat(self) -> str:
        if self.coefficients.growth > 1:
            return "alpha and beta are 1, so no phi adds parameters; raise one"
        return "alpha, beta and gamma are all 1, so no phi adds FLOPs; raise one"

    def value(self, member: Architecture, name: CostName | None = None) -> float:
        """What `member` costs in the target's unit, or in that of the cost named."""
        name = name or self.cost
        if name == "latency":
            assert self.latency is not None
            return self.latency(member)
        count: int = getattr(self.measure(member), name)
        return count

    def fits(self, member: Architecture) -> bool:
        return all(self.value(member, name) <= limit for name, limit in self.limits.items())

    def miss(self, value: float) -> float:
        return abs(value / self.target - 1)

    def member(self, depth: float, width: float, resolution: float) -> Architecture:
        pixels = max(self.least_resolution, round(resolution))
        return resize(
            self.baseline, depth=depth, width=width, resolution=pixels, rounding=self.rounding
        )

    @cached_property
    def least_resolution(self) -> int:
        return smallest_resolution(self.baseline)

    def solve(self) -> tuple[Architecture, float]:
        """The member that is within the tolerance and strays least, and the rule's phi."""
        if self.miss(self.value(self.baseline)) <= self.tolerance and self.fits(self.baseline):
            return self.baseline, 0.0
        low, high = self._crossing()
        phi = (low + high) / 2
        pure = self.baseline.resolution * self.coefficients.factors(phi)[2]
        seen: list[tuple[Architecture, float]] = []
        for ring in _RINGS:
            best = self._best(self._shapes((low, high), *ring), pure, seen)
            if best is not None:
                return best, phi
        raise InputError(self._none_fits(seen))

    def _best(
        self,
        shapes: list[tuple[float, float, float]],
        pure: float,
        seen: list[tuple[Architecture, float]],
    ) -> Architecture | None:
        """Of the shapes' members within the tolerance, that which strays least; `seen` grows."""
        best, least_stray = None, math.inf
        for stray, depth, width in shapes:
            if stray >= least_stray:  # nothing further out can stray less
                break
            if self.cost == "latency" and len(seen) >= _MOST_MEASURED:
                break
            for member, value in self._near(depth, width, pure, room=least_stray - stray):
                seen.append((member, value))
                total = stray + _resolution_stray(member.resolution, pure)
                near = self.miss(value) <= self.tolerance
                if near and total < least_stray and self.fits(member):
                    best, least_stray = member, total
        return best

    def _crossing(self) -> tuple[float, float]:
        """phi below and above where the rounded member's cost crosses the target, 1 % of a
        doubling apart.
        """

        def cost(phi: float) -> float:
            depth, width, growth = self.coefficients.factors(phi)
            return self.value(self.member(depth, width, self.baseline.resolution * growth))

        # Every layer, channel and pixel that the coefficients move, at its least.
        least = (0.0 if c == 1 else -math.inf for c in dict(self.coefficients).values())
        depth, width, size = (math.exp(max(exponent, -30)) for exponent in least)
        floor = self.value(self.member(depth, width, size * self.baseline.resolution))
        if self.target < floor:
            raise InputError(
                f"{self.name} {self.target:g} is below {floor:,}, "
                f"what the smallest member of '{self.baseline.name}' costs"
            )
        doubling = math.log(2) / math.log(self._growth)
        low = high = math.log2(self.target / self.value(self.baseline)) * doubling
        while cost(low) > self.target:
            high, low = low, low - doubling
        while cost(high) < self.target:
            low, high = high, high + doubling
        while high - low > 0.01 * doubling:
            middle = (low + high) / 2
            low, high = (middle, high) if cost(middle) < self.target else (low, middle)
        return low, high

    def _shapes(
        self, phis: tuple[float, float], least: float, most: float, step: float
    ) -> list[tuple[float, float, float]]:
        """(stray, depth, width) of each distinct rounding near the rule, least stray first.

        The factors are off the rule's by more than `least` and at most by `most`. Stray is what
        rounding makes of that, against the rule's member on the nearer side of the crossing:
        |ln| of its layers and twice |ln| of its mean channels, as FLOPs go with depth * width^2.
        """
        depth, width, _ = self.coefficients.factors(sum(phis) / 2)
        count = round(most / step)
        steps = [math.exp(step * i) for i in range(-count, count + 1)]
        layers = [(factor, self._layers(depth * factor)) for factor in steps]
        channels = [(factor, self._channels(width * factor)) for factor in steps]
        off_layers: dict[tuple[int, ...], list[float]] = {}
        off_channels: dict[tuple[int, ...], list[float]] = {}
        for side in phis:
            rule_depth, rule_width, _ = self.coefficients.factors(side)
            deep, wide = sum(self._layers(rule_depth)), self._channels(rule_width)
            for n in {n for _, n in layers}:
                off_layers.setdefault(n, []).append(abs(math.log(sum(n) / deep)))
            for c in {c for _, c in channels}:
                mean = sum(abs(math.log(y / x)) for x, y in zip(wide, c, strict=True)) / len(wide)
                off_channels.setdefault(c, []).append(2 * mean)
        asked: dict[tuple[object, object], float] = {}
        shapes: dict[tuple[object, object], tuple[float, float, float]] = {}
        for (d, n), (w, c) in product(layers, channels):
            off = abs(math.log(d)) + 2 * abs(math.log(w))
            if off <= most and off < asked.get((n, c), math.inf):
                asked[n, c] = off
                stray = min(x + y for x, y in zip(off_layers[n], off_channels[c], strict=True))
                shapes[n, c] = (stray, depth * d, width * w)
        return sorted(shape for key, shape in shapes.items() if asked[key] > least)

    def _layers(self, depth: float) -> tuple[int, ...]:
        return tuple(deepened(s, depth, rounding=self.rounding) for s in self.baseline.stages)

    def _channels(self, width: float) -> tuple[int, ...]:
        rule = rounding_of(self.rounding)
        return tuple(rule.channels(c, width) for c in self._widths)

    @cached_property
    def _widths(self) -> list[int]:
        return stage_widths(self.baseline)

    def _near(
        self, depth: float, width: float, pure: float, *, room: float
    ) -> Iterator[tuple[Architecture, float]]:
        """Members of one shape with their costs, their resolution the last below the target and
        the first above it. What strays further than `room` from the `pure` one is of no use.
        """
        member = self.member(depth, width, pure)
        value = self.value(member)
        yield member, value
        if self.cost == "params" or self._hopeless(member, value):
            return
        low, high = max(self.least_resolution, math.floor(pure / 1.4)) - 1, math.ceil(pure * 1.4)
        while high - low > 1:
            size = member.resolution
            low, high = (max(low, size), high) if value < self.target else (low, min(high, size))
            if high - low <= 1:
                return
            # FLOPs go with the area; a map's rounding makes that a guess.
            guess = round(size * math.sqrt(self.target / value))
            guess = min(max(guess, low + 1), high - 1)
            if abs(guess - size) > 1 and _resolution_stray(guess, pure) > room + 0.1:
                return
            member = self.member(depth, width, guess)
            value = self.value(member)
            yield member, value

    def _hopeless(self, member: Architecture, value: float) -> bool:
        """Whether the member is over a limit, or will be when its resolution meets the target."""
        for name, limit in self.limits.items():
            area = 1.0 if name == "params" else self.target / value / _SLACK
            if self.value(member, name) * area > limit:
                return True
        return False

    def _none_fits(self, seen: list[tuple[Architecture, float]]) -> str:
        for name, limit in self.limits.items():
            least = self._least(name, seen)
            if least > limit:
                return (
                    f"{self.name} {self.target:g} and at most {limit:g} {UNITS[name]} contradict "
                    f"each other: that takes about {least:.3g} {UNITS[name]} even far from the "
                    f"rule; raise that limit or lower the target"
                )
        values = [value for member, value in seen if self.fits(member)] or [v for _, v in seen]
        below = max((value for value in values if value < self.target), default=None)
        above = min((value for value in values if value > self.target), default=None)
        sides = " and ".join(f"{value:,}" for value in (below, above) if value is not None)
        nearest = min(self.miss(value) for value in values)
        within = " within the limits" if self.limits else ""
        tolerance = f"allow a tolerance of {math.ceil(nearest * 1000) / 1000:.3f}"
        return (
            f"no member of '{self.baseline.name}'{within} comes within {self.tolerance:.2%} of "
            f"{self.target:g} {UNITS[self.cost]}: the nearest cost {sides}; "
            f"{'raise a limit or lower the target' if self.limits else tolerance}"
        )

    def _least(self, name: CostName, seen: list[tuple[Architecture, float]]) -> float:
        """About the least of a cost among members whose resolution would meet the target."""
        share = 0.0 if name == "params" else 1.0
        return min(self.value(m, name) * (self.target / value) ** share for m, value in seen)


def _resolution_stray(resolution: int, pure: float) -> float:
    return 2 * abs(math.log(resolution / pure))
