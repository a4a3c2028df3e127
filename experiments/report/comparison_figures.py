"""The figures of a comparison: errors by epoch, and gradient norms by layer, a panel a group."""

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from experiments.report.comparison_tables import first_norms
from experiments.report.style import GREY


def panels_of(trials: pd.DataFrame) -> list[str]:
    """The panels in the order of the trials, which is the config's."""
    return list(dict.fromkeys(trials["panel"]))


def draw_errors(panels: list[Axes], trials: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Error by epoch: thin and dashed in training, thick on the validation part.

    As figures 1 and 6 of arXiv:1512.03385.
    """
    wanted = {"train_accuracy": ("--", 1.1), "accuracy": ("-", 2.0)}
    for axes, title, numbers, colours in _panels(panels, trials):
        for network, group in numbers.items():
            own = curves[curves["number"].isin(group)]
            for metric, (style, width) in wanted.items():
                by_epoch = own[own["metric"] == metric].groupby("epoch")["value"].mean()
                label = network if metric == "accuracy" else "_"
                axes.plot(
                    by_epoch.index.to_numpy(dtype=int),
                    1 - by_epoch.to_numpy(dtype=float),
                    style,
                    marker="o",  # one epoch alone makes no line
                    markersize=3,
                    linewidth=width,
                    color=colours[network],
                    label=label,
                )
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(color=GREY, alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("error (dashed: training, solid: validation)")


def draw_gradient_norms(panels: list[Axes], trials: pd.DataFrame, curves: pd.DataFrame) -> None:
    """The norm of each layer's gradient at the first step, from the image to the scores."""
    first = first_norms(curves)
    for axes, title, numbers, colours in _panels(panels, trials):
        for network, group in numbers.items():
            norms = first[first["number"].isin(group)].groupby("metric", sort=False)["value"].mean()
            place = [i / max(len(norms) - 1, 1) for i in range(len(norms))]
            axes.plot(place, norms, color=colours[network], linewidth=1.6, label=network)
        axes.set(title=title, yscale="log", xlabel="depth (0: first layer, 1: last)")
        axes.grid(color=GREY, alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("norm of the weight's gradient, first step")


def _panels(
    panels: list[Axes], trials: pd.DataFrame
) -> list[tuple[Axes, str, dict[str, list[int]], dict[str, tuple[float, ...]]]]:
    """(axes, title, a network's trials, its colour) of each panel."""
    drawn = []
    for axes, title in zip(panels, panels_of(trials), strict=True):
        part = trials[trials["panel"] == title]
        numbers: dict[str, list[int]] = {
            str(network): list(group["number"])
            for network, group in part.groupby("network", sort=False)
        }
        shades = colormaps["viridis"]
        most = max(len(numbers) - 1, 1)
        colours: dict[str, tuple[float, ...]] = {
            name: shades(0.85 * i / most) for i, name in enumerate(numbers)
        }
        drawn.append((axes, title, numbers, colours))
    return drawn
