"""Image files with their labels, listed and checked: those of an image folder."""

import os
from collections.abc import Iterator
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


# Other files are not images, and are ignored; so is whatever starts with a dot.
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def list_folder(root: Path) -> Listing:
    """List `<class>/*`, or `train/<class>/*` with optional `validation/` (or `val/`), `test/`.

    Class folders are searched to any depth, as torchvision's ImageFolder does. Raises InputError
    for what cannot be trained on: fewer than two classes, a class without images, an empty image
    file, class names that differ between the parts.
    """
    root = root.resolve()
    folders = _part_folders(root)
    classes = tuple(entry.name for entry in _subfolders(folders["train"]))
    if len(classes) < 2:
        raise InputError(
            f"'{folders['train']}' holds {len(classes)} class folders, and at least 2 are needed; "
            f"put the images in <class>/ or train/<class>/"
        )
    parts = {}
    for part, folder in folders.items():
        names = tuple(entry.name for entry in _subfolders(folder))
        if names != classes:
            raise InputError(
                f"the classes of '{folder}' must be those of '{folders['train']}', but "
                f"{difference(names, classes)}; rename or complete the class folders"
            )
        parts[part] = tuple(
            file
            for label, name in enumerate(classes)
            for file in _class_files(folder / name, root=root, label=label)
        )
    return Listing(root.name, root, classes, parts)


def _part_folders(root: Path) -> dict[str, Path]:
    """{part: folder}. A folder of that name with images directly in it is a class, not a part."""
    found: dict[str, Path] = {}
    for name, part in PARTS.items():
        folder = root / name
        if not folder.is_dir() or any(map(_is_image, _entries(folder))):
            continue
        if part in found:
            raise InputError(f"'{root}' holds both validation/ and val/; remove or rename one")
        found[part] = folder
    if found and "train" not in found:
        raise InputError(
            f"'{root}' holds {' and '.join(f'{f.name}/' for f in found.values())} but no train/; "
            f"put the training images in train/<class>/"
        )
    return found or {"train": root}


def _class_files(folder: Path, *, root: Path, label: int) -> list[ImageFile]:
    files = []
    try:
        for entry in _images_below(folder):
            relative = entry.path.removeprefix(str(root)).lstrip(os.sep).replace(os.sep, "/")
            files.append(image_file(entry.path, relative=relative, label=label))
    except OSError as error:
        raise InputError(f"cannot read '{error.filename or folder}': {error.strerror}") from None
    if not files:
        raise InputError(
            f"class folder '{folder}' holds no images ({', '.join(SUFFIXES)}); "
            f"put some in or remove the folder"
        )
    return sorted(files, key=lambda file: file.relative)


def _images_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _images_below(Path(entry.path))
        elif _is_image(entry):
            yield entry


def _is_image(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.is_dir()


def _subfolders(folder: Path) -> list[os.DirEntry[str]]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is not hidden, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot read '{folder}': {error.strerror}") from None
    return sorted(shown, key=lambda entry: entry.name)
