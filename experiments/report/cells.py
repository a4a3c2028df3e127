"""Cells of a table as people read them, for Markdown, the terminal and the page."""

from numbers import Integral
from typing import Any

import pandas as pd
from tabulate import tabulate

_FORMATS = {
    "accuracy": ".4f",
    "test_accuracy": ".4f",
    "reward": ".4f",
    "best_reward": ".4f",
    "difference": "+.4f",
    "superiority": ".3f",
    "least_p": ".2g",
    "reward_spread": ".4f",
    "search_reward": ".4f",
    "accuracy_spread": ".4f",
    "spread": ".4f",
    "first_accuracy": ".4f",
    "reached_depth": ".3f",
    "reached_width": ".3f",
    "growth": ".3f",
    "phi": "z.3f",
    "depth": ".3f",
    "width": ".3f",
    "resolution_factor": ".3f",
    "times_baseline": ".3f",
    "times_target": ".3f",
    "target_flops": ",.0f",
    "seconds": ".1f",
    "gpu_seconds": ".1f",
    "share": ".1%",
    "importance": ".1%",
    "mean": ".4f",
    "low": ".4f",
    "high": ".4f",
    "pooled": ".4f",
    "effect": "+.4f",
    "p": ".2g",
}


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


def plain(table: pd.DataFrame) -> str:
    """For a terminal."""
    return tabulate(
        readable_rows(table),
        headers=[str(name).replace("_", " ") for name in table.columns],
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
