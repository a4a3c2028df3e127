"""Image files with their labels, as a folder or a table lists them, and a line that tells of them.

A label is the number of a class. A task with masks or boxes would add its field to `ImageFile`.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from experiments.config.messages import say_once
from search_spaces.records import InputError

PARTS = ("train", "validation", "test")
_TOLD = 5  # classes that the line names; a person looks at no more


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a data set, in its file."""

    path: str
    relative: str  # to the root, with "/": the order of the images, the same on every machine
    size: int  # bytes
    mtime_ns: int
    label: int


@dataclass(frozen=True)
class Listing:
    """The files of a data set by part, before any is decoded."""

    name: str
    root: Path  # resolved
    classes: tuple[str, ...]  # in the order of `class_order`
    parts: dict[str, tuple[ImageFile, ...]]  # train, and validation and test where they are given
    places: dict[str, str] = field(default_factory=dict)  # what the source calls each part
    left_out: dict[str, list[str]] = field(default_factory=dict)  # names by kind, as `.heic`

    @cached_property
    def files(self) -> tuple[ImageFile, ...]:
        """Of all parts, one part after the other."""
        return tuple(file for part in self.parts.values() for file in part)

    @property
    def labels(self) -> np.ndarray:
        """int64, of all files."""
        return np.array([file.label for file in self.files], dtype=np.int64)


def tell_contents(
    name: str,
    classes: tuple[str, ...],
    labels: Mapping[str, Iterable[int]],
    *,
    places: Mapping[str, str] | None = None,
    left_out: Mapping[str, list[str]] | None = None,
) -> None:
    """One line: the parts, the classes, the images in each, and what is left out.

    `labels` are those of each part that is given; the others will be cut from train.
    """
    counts = {part: Counter(of_part) for part, of_part in labels.items()}
    whole = sum(counts.values(), Counter[int]())
    told = [
        f"{part} {count.total():,} images" + (f" ('{places[part]}')" if places else "")
        for part, count in counts.items()
    ]
    told += [f"{part} is cut from train" for part in PARTS if part not in counts]
    of_classes = [f"{each} ({whole[number]:,})" for number, each in enumerate(classes[:_TOLD])]
    if len(classes) > _TOLD:
        of_classes.append(f"and {len(classes) - _TOLD:,} more")
    line = f"data: '{name}': {', '.join(told)}; {len(classes):,} classes: {', '.join(of_classes)}"
    say_once(line + (f"; left out: {told_counts(left_out)}" if left_out else ""))


def told_counts(left_out: Mapping[str, list[str]]) -> str:
    """As `.heic 3 ('cat/0.heic')`: each kind, how many, and the first."""
    kinds = sorted(left_out.items())
    return ", ".join(f"{kind} {len(names):,} ('{names[0]}')" for kind, names in kinds)


def image_file(path: str, *, relative: str, label: int) -> ImageFile:
    """Raises OSError for a file that cannot be read, InputError for one without content."""
    status = os.stat(path)
    if status.st_size == 0:
        raise InputError(f"'{path}' is an empty file (0 bytes); replace it or remove it")
    return ImageFile(path, relative, status.st_size, status.st_mtime_ns, label)


def real_path(path: str) -> str:
    """The file itself, however links and dots spell the way to it."""
    folder, name = os.path.split(path)
    whole = os.path.join(_real_folder(folder), name)
    return os.path.realpath(whole) if name in ("", ".", "..") or os.path.islink(whole) else whole


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def class_order(name: str) -> tuple[int, float, str]:
    """Numbers first, by their value; then the other names, by their letters."""
    number = re.fullmatch(r"-?\d+(\.\d+)?", name)
    return (0, float(name), name) if number else (1, 0.0, name)


def composed(name: str) -> str:
    """The name in one Unicode form (NFC): a Mac's zip spells `é` as two signs, others as one."""
    return unicodedata.normalize("NFC", name)


def told_difference(found: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    """`'cat' is missing and 'hound' is not among them (and 2 more)`."""
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    told = [f"'{missing[0]}' is missing"] if missing else []
    told += [f"'{extra[0]}' is not among them"] if extra else []
    more = len(missing) + len(extra) - len(told)
    return " and ".join(told) + (f" (and {more} more)" if more else "")
