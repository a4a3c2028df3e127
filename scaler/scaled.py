"""A member of a family: what was asked for, what came of it, and how it reads as a table."""

from dataclasses import dataclass
from typing import Any, Literal

from scaler.cost import Cost
from scaler.stages import stage_rows
from search_spaces.architecture import Architecture

CostName = Literal["flops", "params", "activations", "latency"]

UNITS: dict[CostName, str] = {
    "flops": "FLOPs",
    "params": "parameters",
    "activations": "activations",
    "latency": "seconds",
}


@dataclass(frozen=True)
class Scaled:
    """An architecture grown from `baseline`; prints as a table of what was asked and reached.

    `depth`, `width`, `resolution` are the rule's factors before rounding; `phi` is None where a
    released row, a single dimension or another rule gave them. `target` is a budget in the unit of
    `target_cost`, None where there was none; `latency` is in seconds, None where not measured.
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

    @property
    def target_flops(self) -> float | None:
        """The budget, where it was one of FLOPs."""
        return self.target if self.target_cost == "flops" else None

    @property
    def reached(self) -> float:
        """The member's cost in the unit of the target."""
        if self.target_cost == "latency":
            assert self.latency is not None
            return self.latency
        count: int = getattr(self.cost, self.target_cost)
        return count

    def reached_factors(self) -> tuple[float, float, float]:
        """Depth, width and resolution as rounded: layers, mean channels, pixels over baseline's."""
        small, big = self.baseline, self.architecture
        layers = sum(s.layers for s in big.stages) / sum(s.layers for s in small.stages)
        pairs = zip(big.stages, small.stages, strict=True)
        channels = sum(b.channels / s.channels for b, s in pairs) / len(small.stages)
        return layers, channels, big.resolution / small.resolution

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
        return f"{heading}\n\n{moved}\n\n{stages}"

    def _asked(self) -> str:
        rule = "" if self.phi is None else f"phi {self.phi:.4g}, "
        if self.target is None:
            return rule
        share = f"{self.reached / self.target:.2%}"
        return f"{share} of {_number(self.target)} {UNITS[self.target_cost]}, {rule}"

    def _costs(self) -> str:
        cost = self.cost
        took = "" if self.latency is None else f", {self.latency:.4g} s"
        return (
            f"{cost.flops:,} FLOPs (multiply-adds), {cost.params:,} parameters, "
            f"{cost.activations:,} activations{took} at {self.architecture.resolution} px"
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
