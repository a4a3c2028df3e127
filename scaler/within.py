"""The largest member of a network that keeps several limits: the one that binds is met."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from scaler.budget import Budget, CostName
from scaler.compound import CompoundCoefficients
from scaler.cost import Cost, device_cost
from scaler.scaled import BINDS, Scaled, begun, named, scale_to
from scaler.shapes import Rule, dominates
from scaler.solver import phi_of
from search_spaces.architecture import Architecture
from search_spaces.records import InputError

# What is aimed at, over the limit, and within how many tolerances: small networks grow in coarse
# steps, and where nothing lies just below the limit the solver finds what lies further below.
_AIMS = ((1, 1), (1, 3), (1, 10), (0.98, 2), (0.95, 2), (0.9, 2), (0.8, 5))


def scale_within(
    architecture: Architecture,
    *,
    limits: Mapping[CostName, float],
    coefficients: CompoundCoefficients,
    tolerance: float = 0.01,
    resolution: int | None = None,
    max_resolution: int | None = None,
    num_classes: int = 1000,
    in_channels: int = 3,
    **options: Any,
) -> Scaled:
    """The member along the rule that comes nearest to its limits and passes none.

    The limit that the rule reaches at the lowest phi is the target of `scale_to`, within
    `tolerance` below it, or more where nothing lies so near; the others are its limits. Where they
    exclude it, the next is the target. A limit that the rule never reaches is no target. An
    architecture within a tenth of the limit stays as it is if what comes nearer has a smaller part.
    `options` are those of `scale_to`. Raises InputError where nothing keeps all limits, and why.
    """
    if "latency" in limits:
        raise InputError("a limit of latency goes with a target, as target_flops")
    if not limits:
        raise InputError("there is no limit; give one, as peak_ram, flash or flops")
    base, rule = begun(architecture, coefficients, resolution, max_resolution)
    measure = partial(device_cost, num_classes=num_classes, in_channels=in_channels)
    phis, reason = _reached(
        base,
        limits,
        tolerance=tolerance,
        measure=measure,
        rule=rule,
        by_hand=resolution is not None,
    )
    for name in sorted(phis, key=lambda name: phis[name]):
        for share, looser in _AIMS:
            try:
                found = scale_to(
                    architecture,
                    target=share * limits[name],
                    cost=name,
                    coefficients=coefficients,
                    tolerance=min(0.5, looser * tolerance),
                    limits=limits,
                    resolution=resolution,
                    max_resolution=max_resolution,
                    num_classes=num_classes,
                    in_channels=in_channels,
                    **options,
                )
            except InputError as error:
                reason = reason or error
            else:
                limit = limits[name]
                found = _base_stays(base, measure(base), found, limits, name)
                member = named(found.architecture, base, f"{architecture.name}_{limit:.4g}", name)
                kept = {**found.limits, name: limit}
                return replace(found, architecture=member, target=limit, limits=kept)
    assert reason is not None
    raise reason


def _base_stays(
    base: Architecture, cost: Cost, found: Scaled, limits: Mapping[CostName, float], name: CostName
) -> Scaled:
    """The base in the place of what was found, where that has a smaller part than the base and the
    base itself comes near the limit."""
    shares = {limited: getattr(cost, limited) / limit for limited, limit in limits.items()}
    near = max(shares.values()) <= 1 and shares[name] >= BINDS
    if not near or dominates(found.architecture, base):
        return found
    own = replace(found, architecture=base, cost=cost, moved=())
    return replace(own, phi=0.0, depth=1.0, width=1.0, resolution=1.0)


def _reached(
    base: Architecture,
    limits: Mapping[CostName, float],
    *,
    tolerance: float,
    measure: Callable[[Architecture], Cost],
    rule: Rule,
    by_hand: bool,
) -> tuple[dict[CostName, float], InputError | None]:
    """The phi at which the rule reaches each limit, without those that it never reaches.

    Where it reaches none, with the reason. Raises InputError where the base is above one already.
    """
    phis: dict[CostName, float] = {}
    reason: InputError | None = None
    for name, limit in limits.items():
        budget = Budget(limit, name, tolerance, {}, measure, None)
        try:
            phis[name] = phi_of(base, budget, rule=rule, by_hand=by_hand)
        except InputError as error:
            if budget.value(base) > limit:
                raise
            reason = error
    return phis, None if phis else reason
