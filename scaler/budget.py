"""A budget: the cost that a scaled network must have, and the limits that it must keep."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from search_spaces.records import InputError, choose

if TYPE_CHECKING:  # a config names costs, and starts without torch
    from scaler.cost import Cost
    from search_spaces.architecture import Architecture

CostName = Literal["flops", "params", "activations", "peak_ram", "flash", "latency"]

UNITS: dict[CostName, str] = {
    "flops": "FLOPs",
    "params": "parameters",
    "activations": "activations",
    "peak_ram": "bytes of RAM",
    "flash": "bytes of flash",
    "latency": "seconds",
}
ON_A_DEVICE: tuple[CostName, ...] = ("peak_ram", "flash")  # in `scaler.cost.device_cost` only
OF_WEIGHTS: tuple[CostName, ...] = ("params", "flash")  # the same at any resolution

TimeOf = Callable[["Architecture"], float]  # the latency of an architecture, in seconds


@dataclass(frozen=True)
class Budget:
    """`target` of the cost named `cost`, to be met within `tolerance`, a share of the target.

    `limits` hold the most that a network may have of each cost. `measure` counts
    all but latencies; `time_of` gives latencies, and may be None if none is needed. Raises
    InputError for values that no network can meet.
    """

    target: float
    cost: CostName
    tolerance: float
    limits: dict[CostName, float]
    measure: Callable[["Architecture"], "Cost"]
    time_of: TimeOf | None

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
        if "latency" in (self.cost, *self.limits) and self.time_of is None:
            raise InputError("a budget of latency needs `latency`, a function to seconds")
        if self.target > self.limits.get(self.cost, math.inf):
            raise InputError(
                f"{self.name} {self.target:g} is over the limit of {self.limits[self.cost]:g} "
                f"{self.unit}; lower one or raise the other"
            )

    @property
    def name(self) -> str:
        """The target's name in messages: `target_flops` and so on."""
        return f"target_{self.cost}"

    @property
    def unit(self) -> str:
        """The unit of the target."""
        return UNITS[self.cost]

    def value(self, member: "Architecture", name: CostName | None = None) -> float:
        """The member's value of the target's cost, or of the cost `name`."""
        name = name or self.cost
        if name == "latency":
            assert self.time_of is not None
            return self.time_of(member)
        count: int | None = getattr(self.measure(member), name)
        assert count is not None  # `measure` was chosen for the limited costs
        return count

    def fits(self, member: "Architecture") -> bool:
        """Whether `member` keeps every limit."""
        return all(self.value(member, name) <= limit for name, limit in self.limits.items())

    def miss(self, value: float) -> float:
        """How far `value` is from the target, as a share of the target."""
        return abs(value / self.target - 1)

    def near(self, member: "Architecture") -> bool:
        """Whether `member` meets the target within the tolerance and keeps every limit."""
        return self.miss(self.value(member)) <= self.tolerance and self.fits(member)

    def projected(self, member: "Architecture", value: float, name: CostName) -> float:
        """About the member's cost `name` at the resolution that meets the target.

        `value` is its value of the target's cost now. Costs are proportional to the area of
        the maps, but parameters do not depend on the resolution.
        """
        share = 1.0 if name in OF_WEIGHTS else self.target / value
        return self.value(member, name) * share

    def explain(self, baseline: str, seen: "list[tuple[Architecture, float]]") -> str:
        """Why no member of `baseline` is a solution; `seen` are the tried ones, with values."""
        close = [(member, value) for member, value in seen if self.miss(value) <= 0.1] or seen
        for name, limit in self.limits.items():
            least = min(self.projected(member, value, name) for member, value in close)
            if least > limit:
                return (
                    f"{self.name} {self.target:g} and at most {limit:g} {UNITS[name]} contradict "
                    f"each other: the target needs about {least:.3g} {UNITS[name]} even far from "
                    f"the rule; raise that limit or lower the target"
                )
        values = [value for member, value in seen if self.fits(member)] or [v for _, v in seen]
        below = max((value for value in values if value < self.target), default=None)
        above = min((value for value in values if value > self.target), default=None)
        sides = " and ".join(f"{value:,}" for value in (below, above) if value is not None)
        nearest = min(self.miss(value) for value in values)
        within = " within the limits" if self.limits else ""
        tolerance = f"allow a tolerance of {math.ceil(nearest * 1000) / 1000:.3f}"
        return (
            f"no member of '{baseline}'{within} comes within {self.tolerance:.2%} of "
            f"{self.target:g} {self.unit}: the nearest cost {sides}; "
            f"{'raise a limit or lower the target' if self.limits else tolerance}"
        )
