"""Cells of a table as people read them, for Markdown, the terminal and the page."""

from numbers import Integral
from typing import Any

import pandas as pd
from tabulate import tabulate

# How the numbers of a column are written, by the column's name; `.4g` where none is given.
_BY_FORMAT = {
    ".4f": "accuracy test_accuracy first_accuracy accuracy_spread reward best_reward reward_spread "
    "search_reward spread mean low high pooled forecast forecast_low forecast_high "
    "standard_error accuracy_low accuracy_high precision recall f1 dice iou ap50 ap",
    "+.4f": "difference effect",
    ".3f": "superiority growth depth width resolution_factor reached_depth reached_width "
    "times_baseline times_target",
    "z.3f": "phi",  # z: a tiny negative phi is 0.000, not -0.000
    ",.0f": "target_flops",
    ",.9g": "target cost",
    ".1f": "seconds gpu_seconds",
    ".1%": "share importance",
    ".2g": "p least_p",
}
_FORMATS = {name: digits for digits, names in _BY_FORMAT.items() for name in names.split()}


def readable_rows(table: pd.DataFrame) -> list[list[str]]:
    """Thousands parted, a fixed number of digits in a column, - for what is not there."""
    columns = [
        [_readable(value, _FORMATS.get(str(name), ".4g")) for value in table[name]]
        for name in table.columns
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def alignments(table: pd.DataFrame) -> list[str]:
    """`right` for a column of numbers, `left` for text."""
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]
    return ["right" if number else "left" for number in numeric]


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table; no cell can break out of its place, whatever it holds."""
    cells = [[_escaped(cell) for cell in row] for row in readable_rows(table)]
    header = list(table.columns)
    sides = alignments(table)
    if not cells:  # tabulate would leave the sides out
        rule = ["---:" if side == "right" else ":---" for side in sides]
        return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule))
    text = tabulate(
        cells, headers=header, tablefmt="pipe", colalign=tuple(sides), disable_numparse=True
    )
    return f"{text}\n"


def heads(table: pd.DataFrame, metric: str = "accuracy") -> list[str]:
    """The columns' names in words; the column `accuracy` holds the `metric`, by its name."""
    words = [str(name).split("_") for name in table.columns]
    return [" ".join(metric if one == "accuracy" else one for one in own) for own in words]


def plain(table: pd.DataFrame, metric: str = "accuracy") -> str:
    """For a terminal; `metric` is what the column `accuracy` holds."""
    return tabulate(
        readable_rows(table),
        headers=heads(table, metric),
        colalign=tuple(alignments(table)),
        disable_numparse=True,
    )


def _readable(value: Any, digits: str) -> str:
    if value is None or value is pd.NA or value != value or value == "":
        return "-"
    if isinstance(value, float):
        return format(value, digits)
    return f"{int(value):,}" if isinstance(value, Integral) else str(value)


def _escaped(cell: str) -> str:
    """One line, with no character that Markdown or HTML would read as its own."""
    line = " ".join(cell.split())
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")):
        line = line.replace(sign, written)
    return line
