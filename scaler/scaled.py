"""A scaled network, made by phi or to a budget: what was asked for, and what was reached."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from scaler.budget import ON_A_DEVICE, UNITS, Budget, CostName, TimeOf
from scaler.compound import CompoundCoefficients, scale
from scaler.cost import Cost, device_cost, measure_cost
from scaler.shapes import Rule, dominates, factors_of
from scaler.solver import solve
from scaler.stages import stage_rows
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.resizing import RoundingName, resize, rounding_of

BINDS = 0.9  # of a limit: small networks grow in coarse steps, and `scale_within` comes no nearer


@dataclass(frozen=True)
class Scaled:
    """An architecture grown from `baseline`; prints as a table of what was asked and reached.

    `depth`, `width`, `resolution` are the rule's factors before rounding; `phi` is None if a
    released row, a single dimension or another rule gave them. `target` is a budget in the unit of
    `target_cost`, None without one; `latency` is in seconds, None if not measured. `moved` names
    the dimensions that changed although their coefficient is 1. `limits` are those that it keeps,
    and `target` if it must not be exceeded.
    """

    architecture: Architecture
    baseline: Architecture
    phi: float | None
    depth: float
    width: float
    resolution: float
    cost: Cost
    target: float | None = None
    target_cost: CostName = "flops"
    latency: float | None = None
    moved: tuple[str, ...] = ()
    limits: Mapping[CostName, float] = field(default_factory=dict)

    @property
    def target_flops(self) -> float | None:
        """The budget, if it was one of FLOPs."""
        return self.target if self.target_cost == "flops" else None

    @property
    def reached(self) -> float:
        """The member's cost in the unit of the target."""
        return self.has(self.target_cost)

    def has(self, name: CostName) -> float:
        """The member's cost by its name."""
        value: float | None = self.latency if name == "latency" else getattr(self.cost, name)
        assert value is not None
        return value

    @property
    def binding(self) -> CostName | None:
        """The limit that the member is nearest to; None if it is more than a tenth below all."""
        shares = {name: self.has(name) / limit for name, limit in self.limits.items()}
        return max(
            (name for name in shares if shares[name] >= BINDS),
            key=shares.__getitem__,
            default=None,
        )

    def reached_factors(self) -> tuple[float, float, float]:
        """Depth, width and resolution as rounded: layers, mean channels, pixels over baseline's."""
        return factors_of(self.architecture, self.baseline)

    @property
    def note(self) -> str:
        """Which dimensions changed against the rule, and why; empty if none did."""
        against = [f"{name} moved although the coefficient is 1" for name in self.moved]
        if self.phi and self.target is not None:
            big, small = self.architecture, self.baseline
            pair = (big, small) if self.phi > 0 else (small, big)
            if not dominates(*pair):
                against.append(f"a part is {'smaller' if self.phi > 0 else 'larger'} than before")
        if not against:
            return ""
        return (
            f"{self.architecture.name}: {' and '.join(against)}: nothing else meets the target "
            f"within the tolerance and the limits"
        )

    def _stage_table(self) -> list[dict[str, Any]]:
        """Channels and layers of the baseline and of the member, stage by stage."""
        pairs = zip(stage_rows(self.baseline), stage_rows(self.architecture), strict=True)
        return [
            {
                "stage": small.stage,
                "operator": small.operator,
                "channels": f"{small.channels} -> {big.channels}",
                "layers": f"{small.layers} -> {big.layers}",
            }
            for small, big in pairs
        ]

    def __str__(self) -> str:
        from tabulate import tabulate

        names = ("depth", "width", "resolution")
        rule = (self.depth, self.width, self.resolution)
        dimensions = [
            [name, f"{asked:.3f}", f"{got:.3f}", f"{got / asked - 1:+.1%}"]
            for name, asked, got in zip(names, rule, self.reached_factors(), strict=True)
        ]
        heading = f"{self.architecture.name}: {self._asked()}{self._costs()}"
        moved = tabulate(dimensions, headers=["dimension", "rule", "rounded", "off the rule"])
        stages = tabulate(self._stage_table(), headers="keys", colalign=("left", "left"))
        note = f"{self.note}\n\n" if self.note else ""
        limits = f"{tabulate(self._limit_table(), headers='keys')}\n\n" if self.limits else ""
        return f"{heading}\n\n{limits}{moved}\n\n{note}{stages}"

    def _limit_table(self) -> list[dict[str, str]]:
        """The member's value of each limited cost; the limit that decided is marked."""
        return [
            {
                "limit": UNITS[name],
                "has": _number(self.has(name)),
                "of": _number(limit),
                "share": f"{self.has(name) / limit:.1%}{' binds' * (name == self.binding)}",
            }
            for name, limit in self.limits.items()
        ]

    def _asked(self) -> str:
        rule = "" if self.phi is None else f"phi {self.phi:.4g}, "
        if self.target is None:
            return rule
        share = f"{self.reached / self.target:.2%}"
        return f"{share} of {_number(self.target)} {UNITS[self.target_cost]}, {rule}"

    def _costs(self) -> str:
        cost = self.cost
        counted = self.architecture.counted and f", {self.architecture.counted}"
        took = "" if self.latency is None else f", {self.latency:.4g} s"
        return (
            f"{cost.flops:,} FLOPs (multiply-adds), {cost.params:,} parameters, "
            f"{cost.activations:,} activations{_on_a_device(cost)}{took} "
            f"at {self.architecture.resolution} px{counted}"
        )


def _on_a_device(cost: Cost) -> str:
    if cost.peak_ram is None or cost.flash is None:
        return ""
    return f", as int8 {cost.peak_ram:,} bytes of RAM and {cost.flash:,} bytes of flash"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def scaled_by_phi(
    architecture: Architecture,
    *,
    phi: float,
    coefficients: CompoundCoefficients,
    rounding: RoundingName = "ceil",
    resolution: int | None = None,
    max_resolution: int | None = None,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Scaled:
    """`scale`, with the factors and the cost beside it.

    `resolution` fixes the input side in pixels and `max_resolution` bounds it, as in `scale_to`.
    """
    base, rule = begun(architecture, coefficients, resolution, max_resolution)
    member = scale(base, phi=phi, coefficients=rule.coefficients, rounding=rounding)
    if max_resolution is not None and member.resolution > max_resolution:
        member = resize(member, resolution=max_resolution)
    cost = measure_cost(member, num_classes=num_classes, in_channels=in_channels)
    return Scaled(member, base, phi, *rule.factors(phi), cost)


def scale_to_flops(
    architecture: Architecture,
    *,
    target_flops: float,
    coefficients: CompoundCoefficients,
    tolerance: float = 0.01,
    limits: Mapping[CostName, float] | None = None,
    rounding: RoundingName = "ceil",
    resolution: int | None = None,
    max_resolution: int | None = None,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Scaled:
    """`scale_to` for a budget of FLOPs."""
    return scale_to(
        architecture,
        target=target_flops,
        coefficients=coefficients,
        tolerance=tolerance,
        limits=limits,
        rounding=rounding,
        resolution=resolution,
        max_resolution=max_resolution,
        num_classes=num_classes,
        in_channels=in_channels,
    )


def scale_to(
    architecture: Architecture,
    *,
    target: float,
    cost: CostName = "flops",
    coefficients: CompoundCoefficients,
    tolerance: float = 0.01,
    limits: Mapping[CostName, float] | None = None,
    latency: TimeOf | None = None,
    rounding: RoundingName = "ceil",
    resolution: int | None = None,
    max_resolution: int | None = None,
    above: Architecture | None = None,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Scaled:
    """The member whose cost is within `tolerance` of `target`, nearest to the pure rule.

    `cost` is the unit of the target: flops, params, activations, bytes of peak_ram or flash (as
    int8; a device has no more, so they are limits too), or latency in seconds. For a target or a
    limit of latency, `latency` gives the seconds of an architecture. `limits` hold the most of each
    cost; `scaler.solver` describes the search. Each stage is rounded on its own: `rounding` only
    sets the multiple of pixels.

    `resolution` fixes the input side in pixels: the architecture is first brought to it, and the
    factors are over that. `max_resolution` bounds it. A dimension whose coefficient is 1 does
    not change unless nothing within the tolerance fits; `moved` then names it. With `above`, the
    member before it in a family, no dimension is below that one's.

    Raises InputError for a target that is not positive, that no member reaches, or that none meets
    within the tolerance (the nearest member on each side is named); and for limits that exclude it.
    """
    kept = dict(limits or {})
    if cost in ON_A_DEVICE:
        kept[cost] = min(target, kept.get(cost, target))
    counted = device_cost if set(ON_A_DEVICE) & {*kept} else measure_cost
    measure = partial(counted, num_classes=num_classes, in_channels=in_channels)
    budget = Budget(target, cost, tolerance, kept, measure, latency)
    base, rule = begun(architecture, coefficients, resolution, max_resolution)
    found = solve(
        base,
        budget,
        rule=rule,
        by_hand=resolution is not None,
        above=above,
        pixels=rounding_of(rounding).pixels,
    )
    member = named(found.member, base, f"{architecture.name}_{target:.4g}", cost)
    return Scaled(
        member,
        base,
        found.phi,
        *rule.factors(found.phi),
        measure(member),
        target=target,
        target_cost=cost,
        latency=latency(member) if latency is not None else None,
        moved=found.moved,
        limits=kept,
    )


def named(member: Architecture, base: Architecture, name: str, cost: CostName) -> Architecture:
    """The member by its target, as `b0_5e06flops`; the base itself keeps its name."""
    unit = {"latency": "s", "peak_ram": "ram"}.get(cost, cost)
    return member if member is base else member.replace(name=f"{name}{unit}".replace("+", ""))


def begun(
    architecture: Architecture,
    coefficients: CompoundCoefficients,
    resolution: int | None,
    max_resolution: int | None,
) -> tuple[Architecture, Rule]:
    """The base of the factors, and the rule that gives them: a fixed resolution has gamma 1."""
    base = at_resolution(architecture, resolution, max_resolution)
    if resolution is not None:
        coefficients = coefficients.replace(gamma=1.0)
    cap = math.inf if max_resolution is None else max_resolution / base.resolution
    return base, Rule(coefficients, cap)


def at_resolution(
    architecture: Architecture, resolution: int | None, max_resolution: int | None
) -> Architecture:
    """The architecture at `resolution`, or at most at `max_resolution`.

    Raises InputError if both are given and contradict each other.
    """
    if resolution is not None and max_resolution is not None and resolution > max_resolution:
        raise InputError(
            f"resolution {resolution} is over max_resolution {max_resolution}; give one of them"
        )
    size = min(resolution or architecture.resolution, max_resolution or 10**9)
    return (
        architecture if size == architecture.resolution else resize(architecture, resolution=size)
    )
