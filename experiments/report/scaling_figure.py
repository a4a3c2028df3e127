"""The figure of `scaler scale --family`: what a family costs and how accurate it is.

The published EfficientNets stand beside it.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from experiments.config.files import write_bytes
from experiments.report.charts.chart import CYCLE, Axis, Chart, Figure, Marks, cost_axis
from experiments.report.charts.drawing import draw
from scaler.cost import measure_cost
from scaler.family import EFFICIENTNETS
from scaler.scaled import Scaled
from search_spaces.reference import load_architecture


class Seen(NamedTuple):
    """The accuracies of one network's trainings: their mean, the least and the highest."""

    mean: float
    least: float
    most: float


def trained_accuracies(run: str | Path) -> dict[str, Seen]:
    """The accuracy over the trainings of each network that a run finished, by its key.

    Where the run looked at the test part, all are of it, and networks that it did not look at there
    are left out; otherwise all are of the validation part.
    """
    from experiments.store.trials import load_trials  # loads Optuna, which takes two seconds

    trials = load_trials(run)
    trials = trials[trials["state"] == "complete"]
    tested = "test_accuracy" in trials and trials["test_accuracy"].notna().any()
    accuracy = trials["test_accuracy" if tested else "accuracy"].dropna()
    told = accuracy.groupby(trials["key"]).agg(["mean", "min", "max"])
    return {str(row.Index): Seen(*map(float, row[1:])) for row in told.itertuples()}


def write_scaling(
    members: list[Scaled],
    folder: Path,
    *,
    accuracies: dict[str, Seen],
    metric: str = "accuracy",
    num_classes: int = 1000,
    in_channels: int = 3,
) -> list[Path]:
    """Draw the members as `family.png` and `family.svg` in `folder`; returns the two paths.

    `accuracies` are by the networks' keys, `metric` is what people call them; `num_classes` and
    `in_channels` are what the members were costed for. Raises InputError where the folder cannot
    be written to.
    """
    rows = _rows(members, accuracies, {"num_classes": num_classes, "in_channels": in_channels})
    paths = []
    for ending, data in draw(scaling(rows, trained=bool(accuracies), metric=metric)).items():
        paths.append(folder / f"family.{ending}")
        write_bytes(paths[-1], data)
    return paths


def scaling(rows: pd.DataFrame, *, trained: bool, metric: str = "accuracy") -> Figure:
    """Panels of the metric, parameters and activations against FLOPs: a line a baseline."""
    published = _published()
    name = f"{metric[0].upper()}{metric[1:]}"
    told = name if trained else f"{name}: none of these is trained yet"
    titles = {"accuracy": told, "params": "Parameters", "activations": "Activations"}
    return Figure(
        tuple(_panel(title, column, rows, published) for column, title in titles.items()),
        alt=f"Line plots: {metric}, parameters and activations of the family against its FLOPs, "
        "beside those of the published EfficientNets.",
        caption="Grey: EfficientNet-B0 to B7 with the paper's top-1 accuracies on ImageNet. "
        "Bars: the least and the highest of several trainings.",
    )


def _rows(
    members: list[Scaled], accuracies: dict[str, Seen], sizes: dict[str, int]
) -> pd.DataFrame:
    rows = []
    for member in members:
        for network, cost in (
            (member.baseline, measure_cost(member.baseline, **sizes)),
            (member.architecture, member.cost),
        ):
            row = {"baseline": member.baseline.name, "key": network.key, **vars(cost)}
            seen = accuracies.get(network.key, Seen(*[float("nan")] * 3))
            rows.append({**row, "accuracy": seen.mean, "least": seen.least, "most": seen.most})
    return pd.DataFrame(rows).drop_duplicates(["baseline", "key"])


def _published() -> pd.DataFrame:
    """EfficientNet-B0 to B7: our counts, the paper's accuracies."""
    rows = []
    for name, row in EFFICIENTNETS.items():
        accuracy = None if row.top1 is None else row.top1 / 100
        rows.append({"accuracy": accuracy, **vars(measure_cost(load_architecture(name)))})
    return pd.DataFrame(rows)


def _panel(title: str, column: str, rows: pd.DataFrame, published: pd.DataFrame) -> Chart:
    first = column == "params"  # the middle panel holds the one legend of the three
    every = pd.concat([rows, published])
    label = "EfficientNet B0 to B7, published" if first else ""
    x, y = (published[n].to_numpy(dtype=float) for n in ("flops", column))
    marks = [Marks("line", x, y, label, "grey", "diamond", size=7, dashed=True)]
    for colour, (name, family) in zip(CYCLE * 9, rows.groupby("baseline"), strict=False):
        family = family.dropna(subset=[column]).sort_values("flops")
        if len(family):
            x, y = (family[n].to_numpy(dtype=float) for n in ("flops", column))
            marks.append(Marks("line", x, y, str(name) if first else "", colour, size=9))
            several = family[family["most"] > family["least"]]
            if column == "accuracy" and len(several):
                x, y, low, high = (
                    several[n].to_numpy(dtype=float) for n in ("flops", column, "least", "most")
                )
                marks.append(Marks("dots", x, y, colour=colour, size=9, low=low, high=high))
    scale = Axis(format=".1~%") if column == "accuracy" else cost_axis(every[column], cost=column)
    return Chart(title, cost_axis(every["flops"]), scale, tuple(marks))
