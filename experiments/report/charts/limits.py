"""Axes that several charts share: limits that hold what matters, costs on a logarithmic scale."""

import math

import pandas as pd

from experiments.report.charts.chart import Axis, readable_number

_STEPS = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
)

FEWEST = 8  # finished trials that are worth a scale of their own
COSTS = {  # cost -> what its axis is called
    "flops": "FLOPs (multiply-adds)",
    "params": "parameters",
    "activations": "activations (elements of convolution outputs)",
    "latency": "latency of a step, in seconds",
}


def focus(trials: pd.DataFrame, column: str, *, most: float) -> tuple[float, float]:
    """Limits that hold all finished trials, with room below for some of what lies under them.

    Where only a few finished, they hold the others too.
    """
    scored = trials[trials["state"].isin(["complete", "pruned"])].dropna(subset=[column])
    done = scored[scored["state"] == "complete"]
    values = done[column] if len(done) >= FEWEST else scored[column]
    low, high = float(values.min()), float(values.max())
    spread = max(high - low, 0.02)
    return max(0.0, low - 0.6 * spread), min(most, high + 0.15 * spread) + 0.03 * spread


def cost_axis(values: "pd.Series[float]", *others: float, cost: str = "flops") -> Axis:
    """A logarithmic axis over `values` of a cost and `others`."""
    low, high = (float(pick([*values, *others])) for pick in (min, max))
    margin = max((high / low) ** 0.06, 1.08)
    return log_axis(COSTS[cost], low / margin, high * margin, format=".3s")


def log_axis(label: str, low: float, high: float, *, format: str) -> Axis:  # noqa: A002
    """Ticks at round numbers, at least five where the range has so many."""
    powers = [10.0**p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)))]
    places: list[float] = []
    for steps in _STEPS:
        places = [power * step for power in powers for step in steps if low <= power * step <= high]
        if len(places) >= 5:
            break
    ticks = tuple((place, readable_number(place, format)) for place in places)
    return Axis(label, log=True, limits=(low, high), ticks=ticks, format=format)
