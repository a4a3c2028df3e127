"""Image files with their labels, listed and checked, nothing decoded yet."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from search_spaces.records import InputError

PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class ImageFile:
    path: str
    relative: str  # to the root, with "/": the order of the images, the same on every machine
    size: int  # bytes
    mtime_ns: int
    label: int


@dataclass(frozen=True)
class Listing:
    name: str
    root: Path  # resolved
    classes: tuple[str, ...]  # sorted
    parts: dict[str, tuple[ImageFile, ...]]  # train, and validation and test where they are given

    @cached_property
    def files(self) -> tuple[ImageFile, ...]:
        return tuple(file for part in self.parts.values() for file in part)

    @property
    def labels(self) -> np.ndarray:
        """int64, of all files."""
        return np.array([file.label for file in self.files], dtype=np.int64)


def image_file(path: str, *, relative: str, label: int) -> ImageFile:
    """Raises OSError for a file that cannot be read, InputError for one without content."""
    status = os.stat(path)
    if status.st_size == 0:
        raise InputError(f"'{path}' is an empty file (0 bytes); replace it or remove it")
    return ImageFile(path, relative, status.st_size, status.st_mtime_ns, label)


def difference(found: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    """`'cat' is missing and 'hound' is not among them (and 2 more)`."""
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    told = [f"'{missing[0]}' is missing"] if missing else []
    told += [f"'{extra[0]}' is not among them"] if extra else []
    more = len(missing) + len(extra) - len(told)
    return " and ".join(told) + (f" (and {more} more)" if more else "")
