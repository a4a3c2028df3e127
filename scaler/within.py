"""The largest member of a network that keeps several limits: the one that binds is met."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from scaler.budget import Budget, CostName
from scaler.compound import CompoundCoefficients
from scaler.cost import device_cost
from scaler.scaled import Scaled, begun, scale_to
from scaler.solver import phi_of
from search_spaces.architecture import Architecture
from search_spaces.records import InputError

_LOOSER = (1, 3, 10)  # times the tolerance: small networks grow in coarse steps


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

    Which limit the rule reaches first is known from its phi at each. That one is the target of
    `scale_to`, within `tolerance` below it, or more where nothing lies so near; the others are its
    limits. Where they exclude it, the next is the target. A limit that the rule never reaches, as
    of RAM where only depth grows, is no target. `options` are further ones of `scale_to`. Raises
    InputError where nothing keeps them all, with the reason for the limit that binds.
    """
    if "latency" in limits:
        raise InputError("a limit of latency goes with a target, as target_flops")
    if not limits:
        raise InputError("there is no limit; give one, as peak_ram, flash or flops")
    base, rule = begun(architecture, coefficients, resolution, max_resolution)
    measure = partial(device_cost, num_classes=num_classes, in_channels=in_channels)
    by_hand = resolution is not None
    phis: dict[CostName, float] = {}
    reason: InputError | None = None
    for name, limit in limits.items():
        budget = Budget(limit, name, tolerance, {}, measure, None)
        try:
            phis[name] = phi_of(base, budget, rule=rule, by_hand=by_hand)
        except InputError as error:
            if budget.value(base) > limit:
                raise
            reason = error  # told where no other limit is reached either
    if phis:
        reason = None
    for name in sorted(phis, key=lambda name: phis[name]):
        for looser in _LOOSER:
            try:
                return scale_to(
                    architecture,
                    target=limits[name],
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
    assert reason is not None
    raise reason
