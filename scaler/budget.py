"""Scaling to a budget: the member of a compound family that costs just so much."""

from collections.abc import Mapping

from scaler.compound import CompoundCoefficients, scale
from scaler.cost import Cost, measure_cost
from scaler.scaled import CostName, Scaled
from scaler.solver import Latency, Solver
from search_spaces.architecture import Architecture
from search_spaces.resizing import RoundingName


def scaled_by_phi(
    architecture: Architecture,
    *,
    phi: float,
    coefficients: CompoundCoefficients,
    rounding: RoundingName = "ceil",
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Scaled:
    """`scale`, with the factors and the cost beside it."""
    member = scale(architecture, phi=phi, coefficients=coefficients, rounding=rounding)
    cost = measure_cost(member, num_classes=num_classes, in_channels=in_channels)
    return Scaled(member, architecture, phi, *coefficients.factors(phi), cost)


def scale_to_flops(
    architecture: Architecture,
    *,
    target_flops: float,
    coefficients: CompoundCoefficients,
    tolerance: float = 0.01,
    limits: Mapping[CostName, float] | None = None,
    rounding: RoundingName = "ceil",
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
    latency: Latency | None = None,
    rounding: RoundingName = "ceil",
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Scaled:
    """The member whose cost is within `tolerance` of `target`, nearest to the pure rule.

    `cost` is what the target counts: flops, params, activations, or latency in seconds; `latency`
    then gives the seconds of an architecture. No cost exceeds what `limits` allows of it.

    phi is solved for first, where the rounded member's cost crosses the target. Rounding leaves
    gaps there, so depth, width and resolution then move around the rule, and of all members within
    the tolerance the one that strays least is taken. Raises InputError for a target that is not
    positive, that no member reaches, or that none comes within the tolerance of (then the nearest
    member on each side is named), and for limits that exclude the target (then the two are named).
    """
    sizes = {"num_classes": num_classes, "in_channels": in_channels}

    def measure(member: Architecture) -> Cost:
        return measure_cost(member, **sizes)

    solver = Solver(
        baseline=architecture,
        target=target,
        cost=cost,
        coefficients=coefficients,
        tolerance=tolerance,
        limits=dict(limits or {}),
        rounding=rounding,
        measure=measure,
        latency=latency,
    )
    member, phi = solver.solve()
    if phi:
        unit = {"latency": "s"}.get(cost, cost)
        member = member.replace(name=f"{architecture.name}_{target:.4g}{unit}".replace("+", ""))
    return Scaled(
        member,
        architecture,
        phi,
        *coefficients.factors(phi),
        measure(member),
        target=target,
        target_cost=cost,
        latency=latency(member) if latency is not None else None,
    )
