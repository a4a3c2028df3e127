"""How growth is shared: the directions as a triangle, and what was trained repeatedly."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.report.charts.chart import Axis, Chart, Figure, Marks, Note, Rule
from experiments.steps.noise import Standing

MOST = 24  # directions by rank: more would not be told apart


def surface(table: pd.DataFrame, *, winner: bool, metric: str) -> Figure:
    """The metric of each direction in the triangle of depth, width and resolution.

    log alpha, 2 log beta and 2 log gamma add up to the log of the growth: their shares are the
    place. `winner`: the first row is the chosen one; `metric`: what people call it.
    """
    done = table.dropna(subset=["accuracy"])
    shares = np.stack(
        [np.log(done["alpha"]), 2 * np.log(done["beta"]), 2 * np.log(done["gamma"])], axis=1
    )
    shares = shares / shares.sum(axis=1, keepdims=True)
    corners = np.array([(0.0, 0.0), (1.0, 0.0), (0.5, math.sqrt(0.75))])
    places = shares @ corners
    outline = [*corners, corners[0]]
    grid = [
        Marks("line", [a[0], b[0]], [a[1], b[1]], colour="grey", symbol=None, width=1, opacity=0.4)
        for t in (0.25, 0.5, 0.75)
        for i in range(3)
        for a, b in [_across(corners, i, t)]
    ]
    edge = Marks(
        "line", [p[0] for p in outline], [p[1] for p in outline], colour="grey", symbol=None
    )
    dots = Marks(
        "dots",
        places[:, 0],
        places[:, 1],
        values=done["accuracy"].to_numpy(dtype=float),
        scale=f"validation {metric}",
        size=17,
        texts=[_direction(row, metric) for row in done.to_dict("records")],
    )
    marks = [edge, *grid, dots]
    if winner:
        best = places[0]
        name = f"chosen: {_setting(done.iloc[0].to_dict())}"
        marks.append(Marks("dots", [best[0]], [best[1]], name, "orange", "ring", size=27))
    labels = (
        Note(0.0, -0.05, "depth alone (alpha)", "below"),
        Note(1.0, -0.05, "width alone (beta)", "below"),
        Note(0.5, math.sqrt(0.75) + 0.05, "resolution alone (gamma)", "above"),
    )
    chart = Chart(
        title=f"Coefficients: {metric} by how growth is shared",
        x=Axis(limits=(-0.25, 1.25)),
        y=Axis(limits=(-0.14, 1.02)),
        marks=tuple(marks),
        notes=labels,
        height=440,
        plain=True,
    )
    return Figure(
        (chart,),
        alt="Triangle whose corners are growth of depth, of width and of resolution alone: each "
        f"direction is a dot, coloured by its {metric}; the chosen one is ringed.",
        caption="The nearer a dot lies to a corner, the more of the growth goes there. Grey lines "
        "mark the quarters. Noise changes the colours too: the next figure shows how much.",
    )


def coefficients(ranked: Sequence[Standing], table: pd.DataFrame, *, metric: str) -> Figure:
    """The directions by rank, the leaders with new seeds, the others with their one training."""
    part = table.iloc[: len(ranked[:MOST])]
    leading = part[part["seeds"] > 1]
    marks = _repeats(ranked[:MOST])
    if len(leading):
        first = leading["first_accuracy"].to_numpy(dtype=float)
        name = "the training that chose the leaders"
        marks.append(Marks("dots", range(len(leading)), first, name, "ink", "cross", size=9))
    names = [_setting(row, short=True) for row in part.to_dict("records")]
    x = Axis(
        "alpha, beta, gamma from top to bottom",
        limits=(-0.6, len(names) - 0.4),
        ticks=tuple((float(i), name.replace(", ", "\n")) for i, name in enumerate(names)),
    )
    y = Axis(f"validation {metric}", format=".4~g")
    between = 0 < len(leading) < len(part)
    rules: tuple[Rule, ...] = (("x", len(leading) - 0.5, ""),) if between else ()
    chart = Chart(
        "Coefficients: directions by rank", x, _room(y, ranked), tuple(marks), rules=rules
    )
    return Figure(
        (chart,),
        alt=f"Dot plot of the directions of growth by rank: the {metric} of each training, of the "
        "leaders with mean and standard deviation.",
        caption="Left of the dotted line stand the leaders, which were trained again with new "
        "seeds; right of it stand the others with their one training.",
    )


def confirmation(ranked: Sequence[Standing], table: pd.DataFrame) -> Figure:
    """The finalists' rewards in the last round that each reached, beside that in the search.

    The known networks, which the search did not find, stand last.
    """
    before = table["search_reward"].to_numpy(dtype=float)
    searched = np.flatnonzero(~np.isnan(before))
    name = "its one training in the search"
    marks = [
        *_repeats(ranked),
        Marks("dots", searched, before[searched], name, "ink", "cross", size=9),
    ]
    rounds = table["round"].tolist()
    names = [
        f"{contender}\nround {number}\n{epochs} epochs"
        for contender, number, epochs in zip(
            table["contender"], rounds, table["epochs"], strict=True
        )
    ]
    edges = [i + 0.5 for i in range(len(rounds) - 1) if rounds[i] != rounds[i + 1]]
    x = Axis(
        "",
        limits=(-0.6, len(ranked) - 0.4),
        ticks=tuple((float(i), n) for i, n in enumerate(names)),
    )
    chart = Chart(
        title="Confirmation: the search's best, trained again with new seeds",
        x=x,
        y=_room(Axis("reward", format=".4~g"), ranked, [float(v) for v in before[searched]]),
        marks=tuple(marks),
        rules=tuple(("x", edge, "") for edge in edges),
    )
    return Figure(
        (chart,),
        alt="Dot plot of the finalists by rank: the reward of each repeated training, with mean "
        "and standard deviation, and the reward in the search.",
        caption="The winner stands first; it is the baseline. Known networks, scaled to the same "
        "budget and trained as long as the winner, stand last. Do not compare other rewards across "
        "a dotted line: the trainings differ in length there.",
    )


def _across(corners: Any, i: int, t: float) -> tuple[Any, Any]:
    """The line along which corner i has the share t."""
    own, a, b = corners[i], corners[(i + 1) % 3], corners[(i + 2) % 3]
    return own * t + a * (1 - t), own * t + b * (1 - t)


def _setting(row: dict[Any, Any], *, short: bool = False) -> str:
    names = ("alpha", "beta", "gamma")
    return ", ".join(f"{row[n]:g}" if short else f"{n} {row[n]:g}" for n in names)


def _direction(row: dict[Any, Any], metric: str) -> str:
    spread = "" if pd.isna(row["spread"]) else f" ± {row['spread']:.4f}"
    return f"{_setting(row)}\n{metric} {row['accuracy']:.4f}{spread} (n = {row['seeds']})"


def _repeats(ranked: Sequence[Standing]) -> list[Marks]:
    """Each training a dot, equal ones beside each other, mean and deviation behind them."""
    xs, ys, texts = [], [], []
    for place, one in enumerate(ranked):
        for i, value in enumerate(sorted(one.values)):
            xs.append(place + 0.16 * (2 * (i + 0.5) / len(one.values) - 1))
            ys.append(value)
            texts.append(f"{one.contender}\n{value:.4f}")
    marks = []
    repeated = [(float(i), one) for i, one in enumerate(ranked) if len(one.values) > 1]
    if repeated:
        means = [one.mean for _, one in repeated]
        marks.append(
            Marks(
                "dots",
                [place for place, _ in repeated],
                means,
                name="mean ± standard deviation",
                colour="orange",
                symbol="diamond",
                size=10,
                low=[one.mean - one.spread for _, one in repeated],
                high=[one.mean + one.spread for _, one in repeated],
                texts=[f"{one.contender}\n{one.describe()}" for _, one in repeated],
            )
        )
    marks.append(Marks("dots", xs, ys, "a training", "blue", size=8, texts=texts))
    return marks


def _room(axis: Axis, ranked: Sequence[Standing], others: Sequence[float] = ()) -> Axis:
    """Values that are all equal would have no scale."""
    values = [*(v for one in ranked for v in one.values), *others]
    if np.ptp(values) > 0:
        return axis
    return Axis(axis.label, format=axis.format, limits=(values[0] - 0.01, values[0] + 0.01))
