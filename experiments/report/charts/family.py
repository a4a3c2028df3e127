"""The family: its scaling curve, and that of the published EfficientNets beside it."""

import pandas as pd

from experiments.report.charts.chart import (
    Axis,
    Chart,
    Colour,
    Figure,
    Marks,
    Note,
    Symbol,
    cost_axis,
    log_axis,
)
from scaler.family import EFFICIENTNETS

_ACCURACIES: tuple[tuple[str, Colour, Symbol, str], ...] = (
    ("accuracy", "blue", "circle", "validation"),
    ("test_accuracy", "orange", "square", "test"),
)


def family(members: pd.DataFrame, *, metric: str) -> Figure:
    """FLOPs against the metric; beside it, error over the baseline's against FLOPs over its.

    `members` are the finished ones, the baseline among them.
    """
    members = members.sort_values("flops")
    panels = [_own(members, metric)]
    tested = members["test_accuracy"].notna().all()
    column = "test_accuracy" if tested else "accuracy"
    first = members.iloc[0]
    caption = "The family's scaling curve; b0 is the baseline."
    if len(members) > 1 and first[column] < 1:
        panels.append(_beside(members, column))
        part = "test" if tested else "validation"
        error = "error" if metric == "accuracy" else f"error (1 - {metric})"
        caption += (
            f" The second panel shows how much of the baseline's {part} {error} is left. "
            f"Beside it stand EfficientNet-B0 to B7 as published (arXiv:1905.11946, Tables 2, 8). "
            f"Those were trained on ImageNet in another way: compare the shapes alone."
        )
    return Figure(
        tuple(panels),
        alt=f"Line plots of the family: FLOPs, logarithmic, against validation and test {metric}; "
        "and its error over the baseline's, beside that of the published EfficientNets.",
        caption=caption,
    )


def _own(members: pd.DataFrame, metric: str) -> Chart:
    marks = []
    for column, colour, symbol, name in _ACCURACIES:
        part = members.dropna(subset=[column])
        if len(part):
            xs, ys = (part[n].to_numpy(dtype=float) for n in ("flops", column))
            texts = [
                f"{m}\n{name} {metric} {a:.4f}" for m, a in zip(part["member"], ys, strict=True)
            ]
            marks.append(Marks("line", xs, ys, name, colour, symbol, size=11, texts=texts))
    told = members.dropna(subset=["forecast"])
    if len(told):
        at, expected, least, most = (
            told[n].to_numpy(dtype=float)
            for n in ("flops", "forecast", "forecast_low", "forecast_high")
        )
        name = "expected before its training, 90 % interval"
        marks.append(
            Marks("dots", at, expected, name, "grey", "diamond", size=8, low=least, high=most)
        )
    highest = members[["accuracy", "test_accuracy", "forecast_high"]].max(axis=1)
    notes = tuple(
        Note(float(flops), float(top), str(name).rsplit("_", 1)[-1])
        for name, flops, top in zip(members["member"], members["flops"], highest, strict=True)
    )
    values = members[["accuracy", "test_accuracy", "forecast_low"]].to_numpy(dtype=float)
    low, high = float(pd.DataFrame(values).min().min()), float(highest.max())
    room = max(0.15 * (high - low), 0.005)
    y = Axis(metric, limits=(low - room, high + 1.3 * room), format=".4~g")
    return Chart(f"Family: {metric}", cost_axis(members["flops"]), y, tuple(marks), notes)


def _beside(members: pd.DataFrame, column: str) -> Chart:
    flops, errors = (
        members["flops"].to_numpy(dtype=float),
        1 - members[column].to_numpy(dtype=float),
    )
    ours = Marks(
        "line",
        flops / flops[0],
        errors / errors[0],
        name="this family",
        colour="blue",
        size=11,
        texts=[
            f"{m}\n{f:.2f} times the FLOPs\n{e:.1%} of the error"
            for m, f, e in zip(members["member"], flops / flops[0], errors / errors[0], strict=True)
        ],
    )
    rows = [
        (name, r.flops, 100 - r.top1) for name, r in EFFICIENTNETS.items() if r.flops and r.top1
    ]
    printed = pd.DataFrame(rows, columns=["name", "flops", "error"])
    times = (printed["flops"] / printed["flops"][0]).to_numpy()
    left = (printed["error"] / printed["error"][0]).to_numpy()
    theirs = Marks(
        "line",
        times,
        left,
        name="EfficientNet-B0 to B7, published",
        colour="grey",
        symbol="diamond",
        dashed=True,
        size=10,
        texts=[
            f"{n}\n{f:.2f} times the FLOPs\n{e:.1%} of the error"
            for n, f, e in zip(printed["name"], times, left, strict=True)
        ],
    )
    most = max(float(times.max()), float((flops / flops[0]).max()))
    return Chart(
        title="Family: error left, beside the published EfficientNets",
        x=log_axis("FLOPs over the baseline's", 0.9, 1.15 * most, format=".3~g"),
        y=Axis(
            "error over the baseline's",
            format=".1~%",
            limits=(0.0, 1.05 * max(1.0, float((errors / errors[0]).max()))),
        ),
        marks=(theirs, ours),
    )
