"""Scaling to a budget: the member of a compound family that costs just so many FLOPs."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from scaler.compound import MOST, CompoundCoefficients, scale
from scaler.cost import Cost, measure_cost
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.resizing import (
    deepened,
    resize,
    round_channels,
    smallest_resolution,
    stage_widths,
)

# How far from the pure rule the solver looks: depth and width in steps of 1 %.
MOST_STRAY = 0.3
_SPREAD = [1 + step / 100 for step in range(-26, 35)]


@dataclass(frozen=True)
class Scaled:
    """A member of a family: what was asked for and what came of it.

    `depth`, `width`, `resolution` are the rule's factors before rounding; `phi` is None where a
    released row and no formula gave them.
    """

    architecture: Architecture
    baseline: Architecture
    phi: float | None
    depth: float
    width: float
    resolution: float
    cost: Cost
    target_flops: float | None = None

    def reached_factors(self) -> tuple[float, float, float]:
        """Depth, width and resolution as rounded: layers, mean channels, pixels over baseline's."""
        small, big = self.baseline, self.architecture
        layers = sum(s.layers for s in big.stages) / sum(s.layers for s in small.stages)
        pairs = zip(big.stages, small.stages, strict=True)
        channels = sum(b.channels / s.channels for b, s in pairs) / len(small.stages)
        return layers, channels, big.resolution / small.resolution


def scaled_by_phi(
    architecture: Architecture,
    *,
    phi: float,
    coefficients: CompoundCoefficients,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Scaled:
    """`scale`, with the factors and the cost beside it."""
    member = scale(architecture, phi=phi, coefficients=coefficients)
    cost = measure_cost(member, num_classes=num_classes, in_channels=in_channels)
    return Scaled(member, architecture, phi, *coefficients.factors(phi), cost)


def scale_to_flops(
    architecture: Architecture,
    *,
    target_flops: float,
    coefficients: CompoundCoefficients,
    tolerance: float = 0.01,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Scaled:
    """The member whose FLOPs are within `tolerance` of the target, nearest to the pure rule.

    phi is solved for first, where the rounded member's cost crosses the target. Rounding leaves
    gaps there, so depth, width and resolution then move by up to 30 % around the rule, and of all
    members within the tolerance the one that strays least is taken. Raises InputError for a target
    that is not positive, that no member reaches, or that none comes within the tolerance of; then
    the nearest member on each side is named.
    """

    solver = _Solver(architecture, target_flops, coefficients, tolerance, num_classes, in_channels)
    member, phi = solver.solve()
    name = f"{architecture.name}_{target_flops:.4g}flops".replace("+", "") if phi else None
    return Scaled(
        member.replace(name=name or architecture.name),
        architecture,
        phi,
        *coefficients.factors(phi),
        measure_cost(member, num_classes=num_classes, in_channels=in_channels),
        target_flops,
    )


@dataclass(frozen=True)
class _Solver:
    baseline: Architecture
    target: float
    coefficients: CompoundCoefficients
    tolerance: float
    num_classes: int
    in_channels: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.target) and self.target > 0):
            raise InputError(f"target_flops must be a positive number, but got {self.target:g}")
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance must lie between 0 and 1, but got {self.tolerance:g}")
        if self.coefficients.growth <= 1:
            raise InputError("alpha, beta and gamma are all 1, so no phi adds FLOPs; raise one")
        if self.target > MOST * self.flops(self.baseline):
            raise InputError(
                f"target_flops {self.target:g} is over {MOST:,} times the baseline's "
                f"{self.flops(self.baseline):,} FLOPs; start from a larger baseline"
            )

    def flops(self, member: Architecture) -> int:
        cost = measure_cost(member, num_classes=self.num_classes, in_channels=self.in_channels)
        return cost.flops

    def misses(self, member: Architecture) -> float:
        return abs(self.flops(member) / self.target - 1)

    def member(self, depth: float, width: float, resolution: float) -> Architecture:
        pixels = max(self.least_resolution, round(resolution))
        return resize(self.baseline, depth=depth, width=width, resolution=pixels)

    @cached_property
    def least_resolution(self) -> int:
        return smallest_resolution(self.baseline)

    def solve(self) -> tuple[Architecture, float]:
        """The member that is within the tolerance and strays least, and the rule's phi."""
        if self.misses(self.baseline) <= self.tolerance:
            return self.baseline, 0.0
        phi = self._crossing()
        best, least_stray, seen = None, math.inf, []
        for stray, depth, width, pure in self._shapes(phi):
            if stray >= least_stray:  # nothing further out can stray less
                break
            for resolution in self._resolutions(depth, width, pure):
                member = self.member(depth, width, resolution)
                seen.append(member)
                total = stray + 2 * abs(math.log(member.resolution / pure))
                if self.misses(member) <= self.tolerance and total < least_stray:
                    best, least_stray = member, total
        if best is None:
            raise InputError(self._too_coarse(seen))
        return best, phi

    def _crossing(self) -> float:
        """phi where the rounded member's cost crosses the target, to 1 % of a doubling."""

        def cost(phi: float) -> int:
            depth, width, growth = self.coefficients.factors(phi)
            return self.flops(self.member(depth, width, self.baseline.resolution * growth))

        # Every layer, channel and pixel that the coefficients move, at its least.
        least = (0.0 if c == 1 else -math.inf for c in dict(self.coefficients).values())
        depth, width, size = (math.exp(max(exponent, -30)) for exponent in least)
        floor = self.flops(self.member(depth, width, size * self.baseline.resolution))
        if self.target < floor:
            raise InputError(
                f"target_flops {self.target:g} is below {floor:,}, "
                f"what the smallest member of '{self.baseline.name}' costs"
            )
        step = 0.65 / math.log(self.coefficients.growth)  # about a doubling of FLOPs
        low = high = math.log(self.target / self.flops(self.baseline)) * step / 0.65
        while cost(low) > self.target:
            high, low = low, low - step
        while cost(high) < self.target:
            low, high = high, high + step
        while high - low > 0.01 * step:
            middle = (low + high) / 2
            low, high = (middle, high) if cost(middle) < self.target else (low, middle)
        return (low + high) / 2

    def _shapes(self, phi: float) -> list[tuple[float, float, float, float]]:
        """Each distinct rounding of depth and width near the rule at `phi`, least stray first.

        (stray, depth, width, the rule's resolution before rounding), stray = |ln d| + 2 |ln w|.
        """
        depth, width, growth = self.coefficients.factors(phi)
        widths = stage_widths(self.baseline)
        shapes: dict[tuple[int, ...], tuple[float, float, float]] = {}
        for d, w in product(_SPREAD, _SPREAD):
            stray = abs(math.log(d)) + 2 * abs(math.log(w))
            layers = (deepened(stage, depth * d) for stage in self.baseline.stages)
            channels = (round_channels(channels, width * w) for channels in widths)
            rounded = (*layers, *channels)
            if stray <= MOST_STRAY and stray < shapes.get(rounded, (math.inf,))[0]:
                shapes[rounded] = (stray, depth * d, width * w)
        return [(*shape, self.baseline.resolution * growth) for shape in sorted(shapes.values())]

    def _resolutions(self, depth: float, width: float, pure: float) -> tuple[int, int]:
        """The largest resolution whose cost stays below the target, and the next one."""
        low, high = math.floor(pure / 1.4), math.ceil(pure * 1.4)
        while low < high:
            middle = (low + high) // 2
            if self.flops(self.member(depth, width, middle)) < self.target:
                low = middle + 1
            else:
                high = middle
        return low - 1, low

    def _too_coarse(self, seen: list[Architecture]) -> str:
        costs = [self.flops(member) for member in seen]
        below = max((cost for cost in costs if cost < self.target), default=None)
        above = min((cost for cost in costs if cost > self.target), default=None)
        sides = " and ".join(f"{cost:,}" for cost in (below, above) if cost is not None)
        nearest = min(self.misses(member) for member in seen)
        return (
            f"no member of '{self.baseline.name}' comes within {self.tolerance:.2%} of "
            f"{self.target:g} FLOPs: the nearest cost {sides}; "
            f"allow a tolerance of {math.ceil(nearest * 1000) / 1000:.3f}"
        )
