"""The figures of the search: accuracy against FLOPs, and reward in time."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from experiments.config import SearchSection
from experiments.report.pareto import pareto_front
from experiments.report.style import (
    BLUE,
    DOT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    cost_axis,
    focus,
    legend_below,
)
from experiments.units import NAMES, readable_cost


def draw_flops_accuracy(
    axes: Axes, trials: pd.DataFrame, *, section: SearchSection, baseline: str | None = None
) -> None:
    """The objective's cost against accuracy, over curves along which the reward is equal.

    `baseline` is the key of the network that the confirmation chose, if it is not the best.
    """
    cost = section.cost
    done = trials[trials["state"] == "complete"].sort_values("number")
    stopped = trials[trials["state"] == "pruned"]
    cost_axis(axes, trials[cost], section.target, cost=cost)
    low, high = focus((stopped if done.empty else done)["accuracy"], most=1.0)
    axes.set(ylim=(low, high), ylabel="validation accuracy")
    axes.set_title(f"Search: accuracy against {NAMES[cost]}", pad=18)  # over the curves' figures
    _equal_reward(axes, section)
    target = f"target T = {readable_cost(cost, section.target)}"
    axes.axvline(section.target, color=INK, linestyle=(0, (1, 2)), label=target)
    _dots(axes, done, stopped, x=cost, y="accuracy")
    if len(done):
        front = pareto_front(done, cost=cost)
        x = [*front[cost], axes.get_xlim()[1]]
        y = [*front["accuracy"], front["accuracy"].iloc[-1]]
        axes.step(x, y, where="post", color=GREEN, linewidth=1.8, label="Pareto front", zorder=2)
        best = done.sort_values(["reward", "number"], ascending=[False, True]).iloc[0]
        axes.scatter(
            best[cost],
            best["accuracy"],
            marker="*",
            s=300,
            color=ORANGE,
            edgecolors=INK,
            linewidths=0.8,
            zorder=4,
            label=f"best: reward {best['reward']:.3f}",
        )
        chosen = done[done["key"] == baseline]
        if len(chosen) and baseline != best["key"]:
            axes.scatter(
                chosen[cost],
                chosen["accuracy"],
                s=150,
                facecolors="none",
                edgecolors=ORANGE,
                linewidths=2,
                zorder=4,
                label="confirmed as the baseline",
            )
    legend_below(axes)


def draw_history(axes: Axes, trials: pd.DataFrame) -> None:
    """The reward of each trial in the order in which they ended, and the best so far."""
    done = trials[trials["state"] == "complete"].sort_values("number")
    stopped = trials[trials["state"] == "pruned"]
    failed = trials[trials["state"] == "fail"]
    last = int(trials["number"].max())
    margin = max(0.5, 0.02 * last)
    axes.set(xlim=(-margin, last + margin), xlabel="trial", ylabel="reward")
    axes.set(ylim=focus((stopped if done.empty else done)["reward"], most=np.inf))
    axes.set_title("Search: reward by trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color=GREY, alpha=0.25)
    _dots(axes, done, stopped, x="number", y="reward")
    if len(done):
        x, y = [*done["number"], last], [*done["reward"].cummax(), done["reward"].max()]
        axes.step(x, y, where="post", color=ORANGE, linewidth=1.8, label="best so far", zorder=2)
    if len(failed):
        axes.plot(
            failed["number"],
            np.full(len(failed), 0.06),
            linestyle="none",
            marker="x",
            color=RED,
            transform=axes.get_xaxis_transform(),
            label=f"failed ({len(failed)})",
        )
    legend_below(axes)


def _dots(axes: Axes, done: pd.DataFrame, stopped: pd.DataFrame, *, x: str, y: str) -> None:
    """The trials; what was stopped early far below the others is a tick on the lower edge."""
    low = axes.get_ylim()[0]
    under, shown = stopped[stopped[y] < low], stopped[stopped[y] >= low]
    if len(shown):
        label = f"stopped early ({len(shown)})"
        axes.scatter(shown[x], shown[y], s=18, color=GREY, label=label, **DOT)
    if len(under):
        axes.scatter(
            under[x],
            np.full(len(under), 0.02),
            marker="|",
            s=40,
            color=GREY,
            linewidths=0.8,
            transform=axes.get_xaxis_transform(),
            label=f"stopped early, further below ({len(under)})",
        )
    if len(done):
        size = 34 if len(done) < 100 else 22
        label = f"finished ({len(done)})"
        axes.scatter(done[x], done[y], s=size, color=BLUE, label=label, zorder=3, **DOT)


def _equal_reward(axes: Axes, section: SearchSection) -> None:
    """ACC = reward * (COST/T)^-w for round rewards, each written where its curve leaves."""
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    costs: NDArray[np.float64] = np.geomspace(left, right, 400)
    factor = (costs / section.target) ** section.exponent
    corners = [accuracy * end for accuracy in (low, high) for end in (factor[0], factor[-1])]
    label = "equal reward"
    for level in MaxNLocator(nbins=8).tick_values(min(corners), max(corners)):
        curve = level / factor
        inside = np.flatnonzero((curve >= low) & (curve <= high))
        if len(inside) < 2:
            continue
        axes.plot(costs, curve, color=GREY, linewidth=0.8, alpha=0.7, zorder=1, label=label)
        label = "_"  # one entry in the legend
        end = inside[-1]
        over_edge = end < len(costs) - 1  # through the upper or lower edge, not the right one
        axes.annotate(
            f"{level:.4g}",
            (costs[end], curve[end]),
            xytext=(0, 5 if curve[end] > (low + high) / 2 else -9) if over_edge else (4, 0),
            textcoords="offset points",
            ha="center" if over_edge else "left",
            va="bottom" if over_edge else "center",
            fontsize=8,
            color=GREY,
        )
