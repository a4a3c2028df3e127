"""Class by class: which is taken for which, as a map of shares; how sure boxes are, as curves."""

from typing import Any

import numpy as np
import pandas as pd

from experiments.report.charts.chart import CYCLE, Axis, Chart, Figure, Marks, Note

MOST = 30  # classes drawn; of more those that are told worst
CURVES = 2 * len(CYCLE)  # classes whose curves are drawn; of more those found worst
_WRITTEN = 12  # classes up to which each cell has its count


def confusion_map(pairs: pd.DataFrame, table: pd.DataFrame, *, name: str, part: str) -> Figure:
    """A row a true class, a column a told one; `table` names the classes in their order."""
    by = "dice" if "dice" in table else "f1"
    names = table["class"].tolist()
    if len(names) > MOST:
        worst = table.fillna({by: 1.0}).sort_values(by, kind="stable").head(MOST)["class"]
        names = [one for one in names if one in set(worst)]
    place = {one: float(i) for i, one in enumerate(names)}
    found = pairs.pivot(index="truth", columns="prediction", values="count")
    truths = pairs.groupby("truth")["count"].sum()
    cells = [(truth, told) for truth in names for told in names]
    counts = found.reindex(index=names, columns=names).fillna(0).to_numpy().ravel().astype(int)
    whole = truths.reindex(names).fillna(0).to_numpy().repeat(len(names))
    shares = counts / np.maximum(whole, 1)
    x = [place[told] for _, told in cells]
    y = [-place[truth] for truth, _ in cells]
    unit = "pixels" if by == "dice" else "images"
    texts = [
        f"{count:,} {unit} of {truth}\ntold as {told}: {share:.1%}"
        for (truth, told), count, share in zip(cells, counts, shares, strict=True)
    ]
    marks = Marks("heat", x, y, values=shares, scale="share of the true class", texts=texts)
    notes: tuple[Note, ...] = ()
    if len(names) <= _WRITTEN:
        notes = tuple(
            Note(
                *(a, b, f"{share:.0%}" if by == "dice" else str(count)),
                *("middle", "paper" if share > 0.65 else "ink"),
            )
            for a, b, count, share in zip(x, y, counts, shares, strict=True)
            if count
        )
    ends = (-0.5, len(names) - 0.5)
    chart = Chart(
        title=f"{name}: which class is taken for which",
        x=Axis("told", limits=ends, ticks=_ticks(names, 1)),
        y=Axis("truth", limits=(-ends[1], -ends[0]), ticks=_ticks(names, -1)),
        marks=(marks,),
        notes=notes,
        height=max(360, 140 + 26 * len(names)),
    )
    left = f" Of {len(table)} classes the {MOST} that are told worst are drawn." * (
        len(table) > MOST
    )
    what = "the share of the true class" if by == "dice" else f"the number of {unit}"
    number = f" A cell's number is {what}." if notes else ""
    return Figure(
        (chart,),
        alt=f"Confusion matrix of {name} on the {part} part: rows are true classes, columns told "
        f"ones, coloured by the share of the true class.",
        caption=f"On the {part} part. A row is a true class, a column a told one; on the diagonal "
        f"all is right. The colour is the share of the true class.{number}{left}",
    )


def precision_recall(curves: pd.DataFrame, table: pd.DataFrame, *, name: str, part: str) -> Figure:
    """A curve a class, and their mean, whose area is mAP50; `table` has each class's `ap50`."""
    areas = table.dropna(subset=["ap50"]).set_index("class")["ap50"]
    names = list(areas.index)
    if len(names) > CURVES:
        worst = set(areas.sort_values(kind="stable").head(CURVES).index)
        names = [one for one in names if one in worst]
    marks = []
    for i, one in enumerate(names):
        own = curves[curves["class"] == one]
        told = f"{one if len(one) <= 24 else f'{one[:23]}…'}, AP50 {areas[one]:.2f}"
        marks.append(_curve(own, told, colour=CYCLE[i % len(CYCLE)], dashed=i >= len(CYCLE)))
    if len(areas) > 1:
        mean = curves.groupby("recall")["precision"].mean().reset_index()
        whole = f"mean of all {len(areas)} classes, mAP50 {areas.mean():.2f}"
        marks.append(_curve(mean, whole, colour="ink", width=3))
    left = f" Of {len(areas)} classes the {CURVES} of the lowest AP50 are drawn." * (
        len(areas) > CURVES
    )
    chart = Chart(
        title=f"{name}: precision and recall of its boxes",
        x=Axis("recall: share of the true boxes that are found", limits=(0, 1.01), format=".0%"),
        y=Axis("precision: share of the boxes that are right", limits=(0, 1.02), format=".0%"),
        marks=tuple(marks),
        height=460,
    )
    return Figure(
        (chart,),
        alt=f"Precision over recall of {name} on the {part} part, a curve a class, as boxes of "
        f"lower and lower scores are taken too.",
        caption=f"On the {part} part: from left to right boxes of lower and lower scores are taken "
        f"too. A box is right where it overlaps a true one of its class by an IoU of 0.5. The area "
        f"under a curve is the class's AP50; where a curve ends, no more is found.{left}",
    )


def _curve(curve: pd.DataFrame, name: str, **look: Any) -> Marks:
    """Up to where something is found, and straight down there."""
    there = curve[curve["precision"] > 0]
    recalls, precisions = there["recall"].tolist(), there["precision"].tolist()
    end = recalls[-1] if recalls else 0.0
    texts = [
        f"{name}\nprecision {p:.1%} at recall {r:.0%}"
        for r, p in zip(recalls, precisions, strict=True)
    ]
    return Marks(
        "line", [*recalls, end], [*precisions, 0.0], name, symbol=None, texts=[*texts, name], **look
    )


def _ticks(names: list[str], sign: int) -> tuple[tuple[float, str], ...]:
    return tuple(
        (float(sign * i), one if len(one) <= 16 else f"{one[:15]}…") for i, one in enumerate(names)
    )
