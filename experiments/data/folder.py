"""What an image folder holds: its classes and files, listed and checked, nothing decoded yet."""

import os
from collections.abc import Iterator
from pathlib import Path

from experiments.data.listing import PARTS, ImageFile, Listing, difference, image_file
from search_spaces.records import InputError

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
