"""What the figures share: colours, limits, ticks, the legend's place."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.config.units import readable_cost, readable_count

AXES = {  # cost -> what its axis is called
    "flops": "FLOPs (multiply-adds)",
    "params": "parameters",
    "activations": "activations (elements of convolution outputs)",
    "latency": "latency of a step",
}
BLUE, ORANGE, GREEN, RED = "#2563a8", "#d97a06", "#1f8a5b", "#c0392b"
GREY, INK = "#8d96a0", "#2b3036"
DOT: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.6}


def focus(values: "pd.Series[float]", *, most: float) -> tuple[float, float]:
    """Limits that hold all of `values`, with room below for some of what lies under them."""
    low, high = float(values.min()), float(values.max())
    spread = max(high - low, 0.02)
    return max(0.0, low - 0.6 * spread), min(most, high + 0.15 * spread) + 0.03 * spread


def cost_axis(axes: Axes, values: "pd.Series[float]", *others: float, cost: str = "flops") -> None:
    """A logarithmic x axis over `values` of a cost and `others`, round numbers at the ticks."""
    low, high = (float(pick([*values, *others])) for pick in (min, max))
    margin = max((high / low) ** 0.06, 1.08)
    axes.set(xscale="log", xlim=(low / margin, high * margin), xlabel=AXES[cost])
    steps: tuple[float, ...] = (1, 2, 5)
    if high / low < 5:
        steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    elif high / low > 100:
        steps = (1, 3)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, cost)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _tick(value: float, cost: str) -> str:
    return readable_cost(cost, value) if cost == "latency" else readable_count(value).strip()


def legend_below(axes: Axes) -> None:
    """Under the axes, where it covers no point."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
