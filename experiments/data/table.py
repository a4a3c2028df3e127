"""A CSV or Parquet table of image files: columns `path`, `label`, and if you like `split`."""

import csv
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.config.messages import warn
from experiments.config.schema import DataConfig
from experiments.data.layout import named_part
from experiments.data.listing import (
    PARTS,
    ImageFile,
    Listing,
    class_order,
    composed,
    image_file,
    real_path,
    told_difference,
)
from search_spaces.records import InputError

SUFFIXES = (".csv", ".parquet")
_COLUMNS = ("path", "label", "split")
_DEFAULT = DataConfig()


@dataclass(frozen=True, slots=True)
class _Row:
    number: int  # a CSV's first is 2, below its header; a Parquet file's is 1
    path: str
    label: str
    split: str


def list_table(table: Path, config: DataConfig = _DEFAULT) -> Listing:
    """The files of a table, whose paths are absolute or relative to its folder.

    Other columns are ignored; labels are the classes' names, numbers in their order; an image that
    rows say twice counts once, whatever the spelling of its path. Raises InputError for a row
    without path or label, a file that is missing or empty, a file with two labels or in two splits,
    fewer than two classes, and a split without images of every class.
    """
    table = table.resolve()
    rows, left_out = _of_parts(_read(table), table, config)
    rows = _once(rows, table)
    classes = tuple(sorted({row.label for row in rows}, key=class_order))
    if len(classes) < 2:
        raise InputError(
            f"'{table}' has {len(classes)} class, '{''.join(classes)}', and at least 2 are needed; "
            f"`label` names them"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    parts: dict[str, list[ImageFile]] = {part: [] for part in PARTS}
    for row in rows:
        path = str(table.parent / row.path)
        try:
            file = image_file(path, relative=row.path, label=numbers[row.label])
        except OSError as error:
            raise InputError(
                f"'{table}', row {row.number}: cannot read '{row.path}' ({error.strerror}); paths "
                f"are absolute or relative to the table's folder{_other_form(path)}"
            ) from None
        parts[row.split].append(file)
    given = {part: tuple(files) for part, files in parts.items() if files}
    _check_parts(given, classes, table)
    return Listing(table.stem, table.parent, classes, given, left_out=left_out)


def _read(table: Path) -> list[_Row]:
    """Its rows as text; `split` is train where the table has no such column."""
    try:
        columns, records = (_csv if table.suffix == ".csv" else _parquet)(table)
    except InputError:
        raise
    except Exception as error:  # each reader has exceptions of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"cannot read the table '{table}' ({reason}); save it again, as CSV in UTF-8 or as "
            f"Parquet"
        ) from None
    missing = [name for name in _COLUMNS[:2] if name not in columns]
    if missing:
        raise InputError(
            f"'{table}' has no column `{missing[0]}`; it needs `path` and `label` (and may have "
            f"`split`), but has {', '.join(f'`{name}`' for name in columns)}"
        )
    if twice := [name for name in _COLUMNS if columns.count(name) > 1]:
        raise InputError(f"'{table}' has two columns `{twice[0]}`; remove or rename one")
    if not records:
        raise InputError(f"'{table}' has no rows; give one for each image")
    places = [columns.index(name) if name in columns else None for name in _COLUMNS]
    rows = [
        _Row(number, *("train" if place is None else cells[place] for place in places))
        for number, cells in records
    ]
    for row in rows:
        for name in _COLUMNS:
            if not getattr(row, name):
                raise InputError(f"'{table}', row {row.number}: `{name}` is empty; fill it")
    return _whole_numbers(rows)


_Records = list[tuple[int, list[str]]]  # rows by number, their cells in the order of the columns


def _csv(table: Path) -> tuple[list[str], _Records]:
    """Spreadsheets end rows in empty cells; any other cell without a column is an InputError."""
    with open(table, encoding="utf-8-sig", newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file, skipinitialspace=True)]
    columns, *below = rows or [[]]
    records = []
    for number, cells in enumerate(below, start=2):
        if any(cells[len(columns) :]):
            raise InputError(
                f"'{table}', row {number} has {len(cells)} cells, but the header names "
                f"{len(columns)}; name the other column in the header, or put quotes around a cell "
                f"that holds a comma"
            )
        if any(cells):
            records.append((number, cells + [""] * (len(columns) - len(cells))))
    return columns, records


def _parquet(table: Path) -> tuple[list[str], _Records]:
    import pandas as pd

    frame = pd.read_parquet(table)
    columns = [str(name) for name in frame.columns]
    used = [[_text(value) for value in frame[name].tolist()] for name in frame.columns]
    return columns, [(row, list(cells)) for row, cells in enumerate(zip(*used, strict=True), 1)]


def _text(value: Any) -> str:
    """A cell of a Parquet file; nothing, as None or NaN, is empty."""
    import pandas as pd

    if isinstance(value, bytes):  # text that its writer did not mark as text
        return value.decode(errors="replace").strip()
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value).strip()


def _whole_numbers(rows: list[_Row]) -> list[_Row]:
    """Labels 2.0 and 10.0 are 2 and 10, where all are whole: a gap in a column makes it floats."""
    if not all(re.fullmatch(r"-?\d+(\.0+)?", row.label) for row in rows):
        return [replace(row, label=composed(row.label)) for row in rows]
    return [replace(row, label=row.label.partition(".")[0]) for row in rows]


def _of_parts(
    rows: list[_Row], table: Path, config: DataConfig
) -> tuple[list[_Row], dict[str, list[str]]]:
    """The rows with the part's name in `split`, and the paths of those left out by their split."""
    names = config.parts.named() if config.parts else {}
    parts = {name: part for part, name in names.items()}
    kept: list[_Row] = []
    left_out: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        part = parts.get(row.split) if parts else named_part(row.split)
        if part is not None:
            kept.append(replace(row, split=part))
        elif parts:
            left_out[f"rows of split {row.split}"].append(row.path)
        else:
            raise InputError(
                f"'{table}', row {row.number}: unknown split '{row.split}'; known: train, "
                f"validation (or val), test and their usual names, and those of `data.parts`, as "
                f"`data.parts: {{train: {row.split}}}`"
            )
    return kept, left_out


def _once(rows: list[_Row], table: Path) -> list[_Row]:
    """Without the rows that say the same again; InputError for one that says something else."""
    kept: dict[str, _Row] = {}
    again: list[_Row] = []
    for row in rows:
        before = kept.setdefault(real_path(str(table.parent / row.path)), row)
        if (before.label, before.split) != (row.label, row.split):
            same = "" if row.path == before.path else f"'{row.path}', the same file, is "
            raise InputError(
                f"'{table}': '{before.path}' is {before.label} in {before.split} in row "
                f"{before.number}, but {same}{row.label} in {row.split} in row {row.number}; "
                f"remove one"
            )
        if before is not row:
            again.append(row)
    if again:
        warn(
            f"'{table}': {len(again)} rows say the same again, the first of them row "
            f"{again[0].number} ('{again[0].path}'); each counts once"
        )
    return list(kept.values())


def _other_form(path: str) -> str:
    """A hint where the folder has a file of that name in another Unicode form."""
    place = Path(path)
    try:
        near = [
            each for each in place.parent.iterdir() if composed(each.name) == composed(place.name)
        ]
    except OSError:
        return ""
    if not near:
        return ""
    return (
        f"; the folder has {near[0].name!a} in another Unicode form than the table's {place.name!a}"
    )


def _check_parts(
    parts: dict[str, tuple[ImageFile, ...]], classes: tuple[str, ...], table: Path
) -> None:
    if "train" not in parts:
        raise InputError(f"'{table}' has no row whose split is train; put some images there")
    for part, files in parts.items():
        found = tuple({classes[file.label] for file in files})
        if len(found) != len(classes):
            raise InputError(
                f"every class must have images in split {part} of '{table}', but "
                f"{told_difference(found, classes)}; add some, or remove the class"
            )
