"""The figures of what was trained repeatedly: each training a dot, mean and deviation beside it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from experiments.report.style import BLUE, DOT, GREY, INK, ORANGE, legend_below
from experiments.studies.noise import Standing

MOST = 24  # directions drawn: more would not be told apart


def draw_confirmation(axes: Axes, ranked: Sequence[Standing], table: pd.DataFrame) -> None:
    """The finalists' rewards in the last round that each reached, beside that in the search."""
    _repeats(axes, ranked)
    place = range(len(ranked))
    label = "its one training in the search"
    axes.scatter(place, table["search_reward"], marker="x", color=GREY, label=label, zorder=4)
    rounds = table["round"].tolist()
    names = [
        f"{name}\nround {number}, {epochs} epochs"
        for name, number, epochs in zip(table["contender"], rounds, table["epochs"], strict=True)
    ]
    axes.set_xticks(place, names, fontsize=8, rotation=90 if len(names) > 7 else 0)
    axes.set(ylabel="reward", title="Confirmation: the search's best, trained again with new seeds")
    edges = [i + 0.5 for i in range(len(rounds) - 1) if rounds[i] != rounds[i + 1]]
    for edge in edges:  # other rounds have other lengths: not to be compared
        axes.axvline(edge, color=GREY, linestyle=(0, (1, 2)))
    legend_below(axes)


def draw_coefficients(axes: Axes, ranked: Sequence[Standing], table: pd.DataFrame) -> None:
    """The directions by rank, the leaders with new seeds, the others with their one training."""
    shown = ranked[:MOST]
    _repeats(axes, shown)
    part = table.iloc[: len(shown)]
    leading = part[part["seeds"] > 1]
    if len(leading) and len(leading) < len(part):
        axes.axvline(len(leading) - 0.5, color=GREY, linestyle=(0, (1, 2)))
    label = "the training that chose the leaders"
    axes.scatter(
        range(len(leading)), leading["first_accuracy"], marker="x", color=GREY, label=label
    )
    names = [
        f"{alpha:g}, {beta:g}, {gamma:g}"
        for alpha, beta, gamma in zip(part["alpha"], part["beta"], part["gamma"], strict=True)
    ]
    axes.set_xticks(range(len(names)), names, rotation=50, ha="right", fontsize=8)
    axes.set(xlabel="alpha, beta, gamma", ylabel="validation accuracy")
    axes.set_title("Coefficients: directions of growth by rank")
    legend_below(axes)


def _repeats(axes: Axes, ranked: Sequence[Standing]) -> None:
    dots = [(place, value) for place, one in enumerate(ranked) for value in sorted(one.values)]
    shifts = [  # equal values would hide each other
        0.16 * (2 * (i + 0.5) / len(one.values) - 1)
        for one in ranked
        for i in range(len(one.values))
    ]
    x = [place + shift for (place, _), shift in zip(dots, shifts, strict=True)]
    axes.scatter(x, [v for _, v in dots], s=26, color=BLUE, label="a training", zorder=3, **DOT)
    repeated = [(place, one) for place, one in enumerate(ranked) if len(one.values) > 1]
    if repeated:
        axes.errorbar(
            [place for place, _ in repeated],
            [one.mean for _, one in repeated],
            yerr=[one.spread for _, one in repeated],
            fmt="_",
            markersize=22,
            color=ORANGE,
            ecolor=INK,
            elinewidth=1.2,
            capsize=4,
            label="mean ± standard deviation",
            zorder=2,
        )
    axes.grid(color=GREY, alpha=0.25, axis="y")
    axes.set_xlim(-0.6, len(ranked) - 0.4)
    values = np.array([value for _, value in dots])
    if np.ptp(values) == 0:
        axes.set_ylim(values[0] - 0.01, values[0] + 0.01)
