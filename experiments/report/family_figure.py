"""The figure of the family: its scaling curve."""

import pandas as pd
from matplotlib.axes import Axes

from experiments.report.style import BLUE, GREY, INK, ORANGE, cost_axis, legend_below

_CURVES = (
    ("accuracy", BLUE, "o", "validation"),
    ("test_accuracy", ORANGE, "s", "test"),
)


def draw_family(axes: Axes, members: pd.DataFrame) -> None:
    """FLOPs against validation and test accuracy of the baseline and its members."""
    members = members.sort_values("flops")
    cost_axis(axes, members["flops"])
    axes.set_ylabel("accuracy")
    axes.set_title("Family: accuracy against FLOPs")
    axes.grid(color=GREY, alpha=0.25)
    for column, color, marker, label in _CURVES:
        part = members.dropna(subset=[column])
        if len(part):
            axes.plot(part["flops"], part[column], color=color, marker=marker, label=label)
    highest = members[["accuracy", "test_accuracy"]].max(axis=1)
    for name, flops, top in zip(members["member"], members["flops"], highest, strict=True):
        axes.annotate(
            name.rsplit("_", 1)[-1],
            (flops, top),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            color=INK,
            fontweight="bold",
        )
    axes.margins(y=0.18)
    legend_below(axes)
