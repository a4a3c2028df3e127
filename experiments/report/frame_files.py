"""Frames as Parquet or CSV files, and back in equal.

Parquet keeps the dtypes itself. A CSV has none: they stand in `<name>.dtypes.json` beside it.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.config.files import write_bytes, write_json, write_text
from search_spaces.records import InputError

ENDINGS = (".parquet", ".csv")


def save_frame(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a frame whole, as the path's ending says; the index is left out. Returns the path.

    Raises InputError for another ending, for a folder that cannot be written to, and for what a CSV
    cannot tell apart: an empty text and a missing one in the same column.
    """
    path = _known(Path(path))
    if path.suffix == ".csv":
        write_text(path, to_csv(frame))
        write_json(_dtypes_of(path), {name: _told(frame[name]) for name in frame})
        return path
    write_bytes(path, frame.to_parquet(index=False))
    return path


def read_frame(path: str | Path) -> pd.DataFrame:
    """The frame that `save_frame` wrote. Raises InputError where it, or its dtypes, are not there.

    A CSV from elsewhere is read with `pandas.read_csv`.
    """
    path = _known(Path(path))
    needed = (path, _dtypes_of(path)) if path.suffix == ".csv" else (path,)
    for file in needed:
        if not file.is_file():
            raise InputError(
                f"cannot read '{path}': there is no '{file}'; name a file of save_frame, or read "
                f"a CSV from elsewhere with pandas.read_csv"
            )
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return read_csv(path, json.loads(_dtypes_of(path).read_text(encoding="utf-8")))


def to_csv(frame: pd.DataFrame) -> str:
    """Every column and digit."""
    return frame.to_csv(index=False, lineterminator="\n")


def read_csv(path: Path, dtypes: dict[str, Any]) -> pd.DataFrame:
    """A CSV with the dtypes that `_told` told."""
    cells = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
    return pd.DataFrame({name: _restored(cells[name], told) for name, told in dtypes.items()})


def _known(path: Path) -> Path:
    if path.suffix not in ENDINGS:
        raise InputError(
            f"'{path}' must end in one of {', '.join(ENDINGS)}: the ending says what it is"
        )
    return path


def _dtypes_of(path: Path) -> Path:
    return path.with_suffix(".dtypes.json")


def _told(column: "pd.Series[Any]") -> str | dict[str, Any]:
    """A dtype as JSON."""
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return {"categories": kind.categories.tolist(), "ordered": bool(kind.ordered)}
    if kind == "string":
        if column.isna().any() and (column == "").any():
            raise InputError(
                f"column '{column.name}' holds empty and missing text, which a CSV cannot tell "
                f"apart; save it as .parquet, or fill one of them"
            )
        return "string" if column.isna().any() else "text"
    return str(kind)


def _restored(cells: "pd.Series[Any]", told: Any) -> "pd.Series[Any]":
    if isinstance(told, dict):
        names = {str(category): category for category in told["categories"]}
        return cells.map(names).astype(pd.CategoricalDtype(told["categories"], told["ordered"]))
    if told == "text":
        return cells.fillna("")
    if told == "boolean":
        return cells.map({"True": True, "False": False}).astype("boolean")
    if told.startswith("datetime64"):
        moments = pd.to_datetime(cells, format="ISO8601", utc="," in told)
        return moments.astype(told)
    if told.startswith("timedelta64"):
        return pd.to_timedelta(cells).astype(told)
    if told == "bool":
        return cells.map({"True": True, "False": False}).astype("bool")
    return cells.astype(told)
