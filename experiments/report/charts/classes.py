"""Which class is taken for which: the confusion matrix as a map of shares."""

import numpy as np
import pandas as pd

from experiments.report.charts.chart import Axis, Chart, Figure, Marks, Note

MOST = 30  # classes drawn; of more those that are told worst
_WRITTEN = 12  # classes up to which each cell has its count


def confusion(pairs: pd.DataFrame, table: pd.DataFrame, *, name: str, part: str) -> Figure:
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


def _ticks(names: list[str], sign: int) -> tuple[tuple[float, str], ...]:
    return tuple(
        (float(sign * i), one if len(one) <= 16 else f"{one[:15]}…") for i, one in enumerate(names)
    )
