"""Learning curves: of the search's trials, and of networks that are compared."""

import numpy as np
import pandas as pd

from experiments.report.charts.chart import CYCLE, Axis, Chart, Colour, Figure, Marks
from experiments.report.comparison_tables import first_norms

_OUTCOMES: tuple[tuple[str, str, Colour], ...] = (
    ("pruned", "stopped early", "grey"),
    ("complete", "finished", "blue"),
)
MOST = 150  # curves drawn of each outcome; more would not be told apart


def learning_curves(trials: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Validation accuracy by epoch of the search's trials, those stopped early in grey."""
    told = curves[curves["metric"] == "accuracy"]
    by_trial = {int(str(n)): part for n, part in told.groupby("number")}
    done = trials[trials["state"] == "complete"].sort_values("reward", ascending=False)
    marks, left_out = [], 0
    for state, name, colour in _OUTCOMES:
        part = trials[trials["state"] == state]["number"]
        numbers = [int(n) for n in part if int(n) in by_trial]
        every = np.linspace(0, len(numbers) - 1, min(MOST, len(numbers))).astype(int)
        kept = [numbers[i] for i in every]
        left_out += len(numbers) - len(kept)
        if kept:
            label = f"{name} ({len(numbers)})"
            marks.append(_lines([by_trial[n] for n in kept], label, colour))
    if len(done) and int(done.iloc[0]["number"]) in by_trial:
        best = int(done.iloc[0]["number"])
        marks.append(_lines([by_trial[best]], f"best: trial {best}", "orange", width=3.5))
    thinned = f" {left_out} curves are left out, evenly." if left_out else ""
    chart = Chart(
        title="Search: learning curves",
        x=Axis("epoch", whole=True),
        y=Axis("validation accuracy", format=".4~g"),
        marks=tuple(marks),
    )
    return Figure(
        (chart,),
        alt="Line plot of the search's trials: validation accuracy by epoch; those stopped early "
        "are grey, finished ones blue, the best orange.",
        caption=f"Grey curves end where early stopping ended them.{thinned}",
    )


def comparison(trials: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Error by epoch, a panel a group: dashed in training, solid on the validation part.

    As figures 1 and 6 of arXiv:1512.03385.
    """
    panels = []
    for title, numbers in _panels(trials).items():
        marks = []
        for colour, (network, group) in zip(CYCLE * 9, numbers.items(), strict=False):
            own = curves[curves["number"].isin(group)]
            for metric in ("train_accuracy", "accuracy"):
                means = own[own["metric"] == metric].groupby("epoch")["value"].mean()
                known = metric == "accuracy"
                errors = 1 - means.to_numpy(dtype=float)
                name, width = (network, 2.4) if known else ("", 1.3)
                line = (means.index.to_numpy(dtype=float), errors, name, colour)
                marks.append(Marks("line", *line, size=5, width=width, dashed=not known))
        y = Axis("error (dashed: training, solid: validation)", format=".1~%")
        panels.append(Chart(title, Axis("epoch", whole=True), y, tuple(marks)))
    return Figure(
        tuple(panels),
        alt="Line plots of the compared networks: error by epoch in training and on the validation "
        "part.",
        caption="Dashed: error on the augmented training images; solid: on the validation part; "
        "means over the seeds.",
    )


def gradient_norms(trials: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """The norm of each layer's gradient at the first step, from the image to the scores."""
    first = first_norms(curves)
    panels = []
    for title, numbers in _panels(trials).items():
        marks = []
        for colour, (network, group) in zip(CYCLE * 9, numbers.items(), strict=False):
            norms = first[first["number"].isin(group)]
            means = norms.groupby("metric", sort=False, observed=True)["value"].mean()
            place = [i / max(len(means) - 1, 1) for i in range(len(means))]
            marks.append(Marks("line", place, means.to_numpy(), network, colour, symbol=None))
        x = Axis("depth (0: first layer, 1: last)")
        y = Axis("norm of the weight's gradient", log=True, format=".1e")
        panels.append(Chart(title, x, y, tuple(marks)))
    return Figure(
        tuple(panels),
        alt="Line plots of the compared networks: norm of each layer's gradient, logarithmic, from "
        "the first layer to the last.",
        caption="Gradient norms at the first step of training, on the first batch.",
    )


def _lines(parts: list[pd.DataFrame], name: str, colour: Colour, *, width: float = 1.3) -> Marks:
    """Several curves as one entry, parted by gaps."""
    xs, ys = [], []
    for part in parts:
        xs += [*part["epoch"].astype(float), np.nan]
        ys += [*part["value"], np.nan]
    opacity = 1.0 if len(parts) < 10 else 0.55
    return Marks("line", xs, ys, name, colour, size=5, width=width, opacity=opacity)


def _panels(trials: pd.DataFrame) -> dict[str, dict[str, list[int]]]:
    """Panel -> network -> its trials, in the order of the config."""
    return {
        str(title): {
            str(network): list(group["number"])
            for network, group in part.groupby("network", sort=False)
        }
        for title, part in trials.groupby("panel", sort=False)
    }
