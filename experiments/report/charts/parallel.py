"""Parallel coordinates: each trial a line through its choices, coloured by the metric."""

from typing import Any

import numpy as np
import pandas as pd

from experiments.report.charts.analysis import readable_choice
from experiments.report.charts.chart import Axis, Chart, Colour, Figure, Marks, Note

MOST = 8  # choices drawn
LINES = 400  # trials drawn
# Of the metric, the lowest first, each an entry of the legend.
SHADES: tuple[Colour, ...] = ("purple", "blue", "sky", "green", "orange")
FEW = 30  # trials below which the figure says so


def parallel(trials: pd.DataFrame, *, order: list[str], metric: str) -> Figure | None:
    """None where no choice differs; `order` is that of the choices' importance.

    `trials` are those of the search that have an accuracy, as they stood after the same epoch.
    """
    names = [name for name in order if name in trials and trials[name].nunique(dropna=False) > 1]
    names = names[:MOST]
    if not names or len(trials) < 2:
        return None
    shown = trials.sort_values("accuracy", kind="stable")
    if len(shown) > LINES:
        shown = shown.iloc[np.linspace(0, len(shown) - 1, LINES).astype(int)]
    places, axes = [], []
    for name in names:
        place, axis = _axis(shown[name], readable_choice(name))
        places.append(place)
        axes.append(axis)
    values = shown["accuracy"].to_numpy(dtype=float)
    low, high = float(values.min()), float(values.max())
    places.append((values - low) / max(high - low, 1e-9))
    axes.append(Axis(metric, ticks=((0.0, f"{low:.3f}"), (1.0, f"{high:.3f}"))))
    lines = _lines(np.stack(places, axis=1), values, shown["number"].tolist(), metric)
    few = f" {len(trials)} trials say little: take it as a hint." if len(trials) < FEW else ""
    left = len(
        [name for name in order if name in trials and trials[name].nunique(dropna=False) > 1]
    )
    rest = f" The {len(names)} most important of {left} choices." if left > len(names) else ""
    thinned = f" Of {len(trials):,} trials {LINES} are drawn, evenly." * (len(trials) > LINES)
    bars = [
        Marks("line", [i, i], [0, 1], colour="grey", symbol=None, width=1) for i in range(len(axes))
    ]
    chart = Chart(
        "Search: the choices of each trial",
        x=Axis(
            limits=(-0.3, len(axes) - 0.4),
            ticks=tuple((float(i), one.label) for i, one in enumerate(axes)),
            slanted=True,
        ),
        y=Axis(limits=(-0.05, 1.05), hidden=True),
        marks=(*bars, *lines),
        notes=tuple(
            Note(float(i), at, text, "right")
            for i, one in enumerate(axes)
            for at, text in one.ticks or ()
        ),
        height=440,
    )
    return Figure(
        (chart,),
        alt=f"Parallel coordinates: an axis for each choice, a line for each trial, coloured by "
        f"its validation {metric}.",
        caption=f"A line is a trial, as it stood after the same epoch as the others. A value's "
        f"place on an axis is its rank.{rest}{thinned}{few}",
    )


def _lines(places: Any, values: Any, numbers: list[int], metric: str) -> list[Marks]:
    """The trials in so many shades of the metric, the lowest first; parted by gaps."""
    low, high = float(values.min()), float(values.max())
    count = len(SHADES)
    bins = (count * (values - low) / max(high - low, 1e-9)).astype(int).clip(max=count - 1)
    marks = []
    for shade in sorted(set(bins.tolist())):
        xs, ys, texts = [], [], []
        for i in np.flatnonzero(bins == shade):
            xs += [*range(places.shape[1]), np.nan]
            ys += [*places[i], np.nan]
            texts += [f"trial {numbers[i]}\n{metric} {values[i]:.4f}"] * (places.shape[1] + 1)
        own = values[bins == shade]
        name = f"{metric} {own.min():.3f} to {own.max():.3f} ({len(own)})"
        marks.append(
            Marks("line", xs, ys, name, SHADES[shade], None, width=1.5, opacity=0.65, texts=texts)
        )
    return marks


def _axis(values: "pd.Series[Any]", name: str) -> tuple[Any, Axis]:
    """Each different value at its own place from 0 to 1, in order; what is missing comes first."""
    known = values.dropna()
    numbers = pd.api.types.is_numeric_dtype(known.dtype)
    ordered = sorted(known.unique().tolist()) if numbers else sorted(known.astype(str).unique())
    texts = [f"{one:g}" if numbers else str(one) for one in ordered]
    if len(known) < len(values):
        ordered, texts = [None, *ordered], ["-", *texts]
    step = 1 / max(1, len(ordered) - 1)
    at = {one: i * step for i, one in enumerate(ordered)}
    keys = [None if pd.isna(v) else v if numbers else str(v) for v in values]
    place = np.array([at[key] for key in keys], dtype=float)
    return place, Axis(name, ticks=tuple((at[o], t) for o, t in zip(ordered, texts, strict=True)))
