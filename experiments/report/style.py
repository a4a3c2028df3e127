"""What the figures share: colours, limits, ticks, the legend's place."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.units import readable_count

FLOPS = "FLOPs (multiply-adds)"
BLUE, ORANGE, GREEN, RED = "#2563a8", "#d97a06", "#1f8a5b", "#c0392b"
GREY, INK = "#8d96a0", "#2b3036"
DOT: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.6}


def focus(values: "pd.Series[float]", *, most: float) -> tuple[float, float]:
    """Limits that hold all of `values`, with room below for some of what lies under them."""
    low, high = float(values.min()), float(values.max())
    spread = max(high - low, 0.02)
    return max(0.0, low - 0.6 * spread), min(most, high + 0.15 * spread) + 0.03 * spread


def flops_axis(axes: Axes, flops: "pd.Series[int]", *others: float) -> None:
    """A logarithmic x axis over `flops` and `others`, with round numbers at the ticks."""
    low, high = (float(pick([*flops, *others])) for pick in (min, max))
    margin = max((high / low) ** 0.06, 1.08)
    axes.set(xscale="log", xlim=(low / margin, high * margin), xlabel=FLOPS)
    steps: tuple[float, ...] = (1, 2, 5)
    if high / low < 5:
        steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    elif high / low > 100:
        steps = (1, 3)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: readable_count(value).strip()))
    axes.xaxis.set_minor_formatter(NullFormatter())


def legend_below(axes: Axes) -> None:
    """Under the axes, where it covers no point."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
