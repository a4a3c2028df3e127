"""A CSV or Parquet table of image files: columns `path`, `label`, and if you like `split`."""

import logging
from dataclasses import dataclass
from pathlib import Path

from experiments.data.listing import PARTS, ImageFile, Listing, difference, image_file
from search_spaces.records import InputError

SUFFIXES = (".csv", ".parquet")
_COLUMNS = ("path", "label", "split")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Row:
    number: int  # a CSV's first is 2, below its header; a Parquet file's is 1
    path: str
    label: str
    split: str


def list_table(table: Path) -> Listing:
    """The files of a table, whose paths are absolute or relative to its folder.

    Other columns are ignored; labels are the classes' names, numbers in their order; an image that
    rows say twice counts once. Raises InputError for a row without path or label, a file that is
    missing or empty, a file with two labels or in two splits, fewer than two classes, and a split
    without images of every class.
    """
    table = table.resolve()
    rows = _once(_read(table), table)
    classes = tuple(sorted({row.label for row in rows}, key=_order))
    if len(classes) < 2:
        raise InputError(
            f"'{table}' has {len(classes)} class, '{classes[0]}', and at least 2 are needed; "
            f"`label` names them"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    parts: dict[str, list[ImageFile]] = {part: [] for part in dict.fromkeys(PARTS.values())}
    for row in rows:
        path = str(table.parent / row.path)
        try:
            file = image_file(path, relative=row.path, label=numbers[row.label])
        except OSError as error:
            raise InputError(
                f"'{table}', row {row.number}: cannot read '{row.path}' ({error.strerror}); paths "
                f"are absolute or relative to the table's folder"
            ) from None
        parts[row.split].append(file)
    given = {part: tuple(files) for part, files in parts.items() if files}
    _check_parts(given, classes, table)
    return Listing(table.stem, table.parent, classes, given)


def _read(table: Path) -> list[_Row]:
    """Its rows as text; `split` is train where the table has no such column."""
    import pandas as pd

    try:
        if table.suffix == ".csv":
            frame = pd.read_csv(table, dtype=str, keep_default_na=False)
        else:
            frame = pd.read_parquet(table)
    except Exception as error:  # each reader has exceptions of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read the table '{table}' ({reason})") from None
    missing = [name for name in _COLUMNS[:2] if name not in frame]
    if missing:
        raise InputError(
            f"'{table}' has no column `{missing[0]}`; it needs `path` and `label` (and may have "
            f"`split`), but has {', '.join(f'`{name}`' for name in frame.columns)}"
        )
    if frame.empty:
        raise InputError(f"'{table}' has no rows; give one for each image")
    if "split" not in frame:
        frame = frame.assign(split="train")
    columns = [
        ["" if pd.isna(value) else str(value).strip() for value in frame[name].tolist()]
        for name in _COLUMNS
    ]
    first = 2 if table.suffix == ".csv" else 1
    return [
        _checked(_Row(number, *values), table)
        for number, values in enumerate(zip(*columns, strict=True), start=first)
    ]


def _checked(row: _Row, table: Path) -> _Row:
    for name in _COLUMNS:
        if not getattr(row, name):
            raise InputError(f"'{table}', row {row.number}: `{name}` is empty; fill it")
    if row.split not in PARTS:
        raise InputError(
            f"'{table}', row {row.number}: unknown split '{row.split}'; known: train, validation "
            f"(or val), test"
        )
    return _Row(row.number, row.path, row.label, PARTS[row.split])


def _once(rows: list[_Row], table: Path) -> list[_Row]:
    """Without the rows that say the same again; InputError for one that says something else."""
    kept: dict[str, _Row] = {}
    again: list[_Row] = []
    for row in rows:
        before = kept.setdefault(row.path, row)
        if (before.label, before.split) != (row.label, row.split):
            raise InputError(
                f"'{table}': '{row.path}' is {before.label} in {before.split} in row "
                f"{before.number}, but {row.label} in {row.split} in row {row.number}; remove one"
            )
        if before is not row:
            again.append(row)
    if again:
        _log.warning(
            "'%s': %d rows say the same again, the first of them row %d ('%s'); each counts once",
            *(table, len(again), again[0].number, again[0].path),
        )
    return list(kept.values())


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
                f"{difference(found, classes)}; add some, or remove the class"
            )


def _order(label: str) -> tuple[int, int, str]:
    """Whole numbers first, by their value; then the others, by their letters."""
    return (0, int(label), label) if label.isdecimal() else (1, 0, label)
