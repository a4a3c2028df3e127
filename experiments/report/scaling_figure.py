"""The figure of `scaler scale --family`: what a family costs and, where trained, how well it does,
beside the published EfficientNets.
"""

from functools import partial
from pathlib import Path
from typing import BinaryIO

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from experiments.config.files import replace_file
from experiments.config.plot_style import BLUE, GREEN, GREY, ORANGE, RED, cost_axis, legend_below
from experiments.config.units import readable_count
from scaler.cost import measure_cost
from scaler.published import EFFICIENTNETS
from scaler.scaled import Scaled
from search_spaces.records import InputError
from search_spaces.reference import load_architecture

FORMATS = ("png", "svg")
_COLOURS = (BLUE, ORANGE, GREEN, RED)


def trained_accuracies(run: str | Path) -> dict[str, float]:
    """Best accuracy by key of the networks that a run trained: on the test part where it looked."""
    from experiments.store.trials import load_trials

    trials = load_trials(run)
    trials = trials[trials["state"] == "complete"]
    accuracy = trials["accuracy"]
    if "test_accuracy" in trials:
        accuracy = trials["test_accuracy"].fillna(accuracy)
    return {str(key): float(best) for key, best in accuracy.groupby(trials["key"]).max().items()}


def write_scaling(
    members: list[Scaled],
    folder: Path,
    *,
    accuracies: dict[str, float],
    num_classes: int = 1000,
    in_channels: int = 3,
) -> list[Path]:
    """`family.png` and `family.svg` in `folder`; the accuracies are those of the members' keys.

    `num_classes` and `in_channels` are what the members were costed for.
    """
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    figure = draw_scaling(members, accuracies=accuracies, sizes=sizes)
    paths = [folder / f"family.{ending}" for ending in FORMATS]

    def save(ending: str, file: BinaryIO) -> None:
        figure.savefig(file, format=ending, metadata={"Date": None} if ending == "svg" else {})

    for path, ending in zip(paths, FORMATS, strict=True):
        try:
            replace_file(path, partial(save, ending))
        except OSError as error:
            raise InputError(
                f"cannot write '{path}': {error.strerror}; name a folder that can be written to"
            ) from None
    return paths


def draw_scaling(
    members: list[Scaled], *, accuracies: dict[str, float], sizes: dict[str, int]
) -> Figure:
    """Panels of accuracy, parameters and activations against FLOPs: a line a baseline."""
    figure = Figure(figsize=(13, 4.8), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(1, 3))
    published, drawn = _published(), _frame(members, accuracies, sizes)
    for axes, column in zip(panels, ("accuracy", "params", "activations"), strict=True):
        _draw(axes, drawn, published, column)
    panels[0].set_title("Accuracy" if accuracies else "Accuracy: none of these is trained yet")
    panels[1].set_title("Parameters")
    panels[2].set_title("Activations")
    figure.suptitle("What a family costs", fontweight="bold")
    legend_below(panels[1])
    return figure


def _frame(
    members: list[Scaled], accuracies: dict[str, float], sizes: dict[str, int]
) -> pd.DataFrame:
    rows = []
    for member in members:
        pair = (
            (member.baseline, measure_cost(member.baseline, **sizes)),
            (member.architecture, member.cost),
        )
        for architecture, cost in pair:
            key = architecture.key
            accuracy = accuracies.get(key, float("nan"))
            row = {"baseline": member.baseline.name, "key": key, "accuracy": accuracy}
            rows.append({**row, **vars(cost)})
    return pd.DataFrame(rows).drop_duplicates(["baseline", "key"])


def _published() -> pd.DataFrame:
    """EfficientNet-B0 to B7: our counts, the paper's accuracies."""
    rows = []
    for name, row in EFFICIENTNETS.items():
        accuracy = None if row.top1 is None else row.top1 / 100
        rows.append({"accuracy": accuracy, **vars(measure_cost(load_architecture(name)))})
    return pd.DataFrame(rows)


def _draw(axes: Axes, drawn: pd.DataFrame, published: pd.DataFrame, column: str) -> None:
    first = column == "params"  # one legend for the three
    cost_axis(axes, pd.concat([drawn["flops"], published["flops"]]))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GREY, alpha=0.25)
    label = "EfficientNet B0 to B7, published (top-1 on ImageNet)" if first else None
    axes.plot(
        published["flops"],
        published[column],
        color=GREY,
        linestyle=(0, (4, 2)),
        marker="D",
        markersize=4,
        label=label,
    )
    for colour, (name, family) in zip(_COLOURS * 9, drawn.groupby("baseline"), strict=False):
        family = family.dropna(subset=[column]).sort_values("flops")
        if len(family):
            label = str(name) if first else None
            axes.plot(family["flops"], family[column], color=colour, marker="o", label=label)
    if column != "accuracy":
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: readable_count(v).strip()))
