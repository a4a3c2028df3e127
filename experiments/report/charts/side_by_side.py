"""What is compared: the networks of a comparison, or whole runs."""

import pandas as pd

from experiments.report.analysis.trials import pareto_front
from experiments.report.charts.chart import (
    CYCLE,
    Axis,
    Chart,
    Colour,
    Figure,
    Marks,
    Symbol,
    cost_axis,
)
from experiments.report.tables import first_norms

_SYMBOLS: tuple[Symbol, ...] = ("circle", "square", "diamond", "star", "cross", "tick")
Styles = dict[str, tuple[Colour, Symbol]]


def styles(names: list[str]) -> Styles:
    """A colour and a symbol a run, the same in every figure."""
    return {
        name: (CYCLE[i % len(CYCLE)], _SYMBOLS[i % len(_SYMBOLS)]) for i, name in enumerate(names)
    }


def best_so_far(regret: pd.DataFrame, style: Styles) -> Figure:
    """The best reward of each run by trial and in time; `regret` is that of `search_regret`."""
    by_trial, in_time = [], []
    unit, size = ("s", 1.0) if regret["elapsed"].max().total_seconds() < 600 else ("min", 60.0)
    for name, part in regret.groupby("run", sort=False):
        colour, _ = style[str(name)]
        best = part["best"].to_numpy(dtype=float)
        seconds = part["elapsed"].dt.total_seconds().to_numpy() / size
        numbers = part["number"].to_numpy(dtype=float)
        by_trial.append(Marks("steps", numbers, best, str(name), colour, width=2.5))
        in_time.append(Marks("steps", seconds, best, str(name), colour, width=2.5))
    reward = Axis("best reward so far", format=".4~g")
    trial = Axis("trial, in the order in which they ended", whole=True)
    return Figure(
        (
            Chart("Best so far by trial", trial, reward, tuple(by_trial)),
            Chart(
                "Best so far in time",
                Axis(f"since the search began ({unit})"),
                reward,
                tuple(in_time),
            ),
        ),
        alt="Step lines of the runs: the best reward so far by trial, and in time.",
        caption="Finished trials only. One run of each says little of a method: seeds matter too.",
    )


def fronts(trials: pd.DataFrame, style: Styles, *, cost: str, metric: str) -> Figure:
    """The finished trials of each search and their Pareto front."""
    marks: list[Marks] = []
    axis = cost_axis(trials[cost], cost=cost)
    assert axis.limits is not None
    for name, part in trials.groupby("run", sort=False):
        colour, symbol = style[str(name)]
        front = pareto_front(part, cost=cost)
        xs = [*front[cost].astype(float), axis.limits[1]]
        ys = [*front["accuracy"], front["accuracy"].iloc[-1]]
        marks.append(Marks("steps", xs, ys, f"{name}: Pareto front", colour, width=2.5))
        x, y = part[cost].to_numpy(dtype=float), part["accuracy"].to_numpy(dtype=float)
        texts = [
            f"{name}, trial {n}\n{metric} {a:.4f}" for n, a in zip(part["number"], y, strict=True)
        ]
        dots = Marks("dots", x, y, str(name), colour, symbol, 7, opacity=0.7, texts=texts)
        marks.append(dots)
    y_axis = Axis(f"validation {metric}", format=".4~g")
    return Figure(
        (Chart(f"Cost against {metric}", axis, y_axis, tuple(marks), height=500),),
        alt=f"Scatter plot of the finished trials of the runs: cost against validation {metric}, "
        "with each run's Pareto front as a step line.",
        caption="No trial of a run is both cheaper and better than one on the run's front.",
    )


def families(members: pd.DataFrame, style: Styles, *, metric: str) -> Figure:
    """The scaling curve of each run: the metric on the test part where it was looked at."""
    marks = []
    for name, part in members.groupby("run", sort=False):
        colour, symbol = style[str(name)]
        part = part.sort_values("flops")
        shown = part["test_accuracy"].fillna(part["accuracy"]).to_numpy(dtype=float)
        texts = [f"{name}: {m}\n{a:.4f}" for m, a in zip(part["member"], shown, strict=True)]
        xs = part["flops"].to_numpy(dtype=float)
        marks.append(Marks("line", xs, shown, str(name), colour, symbol, 11, texts=texts))
    y = Axis(f"{metric} (test where known)", format=".4~g")
    return Figure(
        (Chart("Families", cost_axis(members["flops"]), y, tuple(marks)),),
        alt=f"Line plot: {metric} of each run's family against FLOPs.",
        caption="Each member was trained once.",
    )


def comparison(trials: pd.DataFrame, curves: pd.DataFrame, *, metric: str) -> Figure:
    """Error, 1 less the metric, by epoch, a panel a group: dashed in training, solid in validation.

    As figures 1 and 6 of arXiv:1512.03385.
    """
    panels = []
    for title, numbers in _panels(trials).items():
        marks = []
        for colour, (network, group) in zip(CYCLE * 9, numbers.items(), strict=False):
            own = curves[curves["number"].isin(group)]
            for figure in ("train_accuracy", "accuracy"):
                means = own[own["metric"] == figure].groupby("epoch")["value"].mean()
                known = figure == "accuracy"
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
        caption=f"Dashed: error on the augmented training images; solid: on the validation part; "
        f"means over the seeds.{error_told(metric)}",
    )


def error_told(metric: str) -> str:
    """What is meant by error where the metric is another than accuracy."""
    if metric == "accuracy":
        return ""
    return (
        f" The error is 1 - {metric} on the validation and test part; in training it is the share "
        f"of wrong images, or pixels."
    )


def gradients_by_layer(trials: pd.DataFrame, curves: pd.DataFrame) -> Figure:
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


def _panels(trials: pd.DataFrame) -> dict[str, dict[str, list[int]]]:
    """Panel -> network -> its trials, in the order of the config."""
    return {
        str(title): {
            str(network): list(group["number"])
            for network, group in part.groupby("network", sort=False)
        }
        for title, part in trials.groupby("panel", sort=False)
    }
