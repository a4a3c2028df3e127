"""The image files of a folder: `<class>/*`, or `train/<class>/*` and so on."""

import os
from collections import defaultdict
from pathlib import Path
from typing import TypeAlias

from experiments.config.schema import DataConfig
from experiments.data.layout import (
    SUFFIXES,
    entries,
    files_below,
    is_image,
    named_part,
    part_folders,
    subfolders,
)
from experiments.data.listing import (
    ImageFile,
    Listing,
    class_order,
    composed,
    image_file,
    real_path,
    told_counts,
    told_difference,
)
from search_spaces.records import InputError

LeftOut: TypeAlias = defaultdict[str, list[str]]  # names by kind

_DEFAULT = DataConfig()


def list_folder(root: Path, config: DataConfig = _DEFAULT) -> Listing:
    """List an image folder, whose parts are found as `layout.part_folders` says.

    Class folders are searched to any depth, as torchvision's ImageFolder does. Raises InputError
    for what cannot be trained on: fewer than two classes, a class without images, an empty image
    file, class names that differ between the parts, one file in two classes.
    """
    root = root.resolve()
    folders = part_folders(root, config)
    classes = tuple(sorted(_class_folders(folders["train"]), key=class_order))
    if len(classes) < 2:
        raise _too_few(folders["train"], classes)
    parts, left_out = {}, _beside(root, folders)
    for part, folder in folders.items():
        own = _class_folders(folder)
        if set(own) != set(classes):
            raise InputError(
                f"the classes of '{folder}' must be those of '{folders['train']}', but "
                f"{told_difference(tuple(own), classes)}; rename or complete the class folders"
            )
        parts[part] = tuple(
            file
            for label, name in enumerate(classes)
            for file in _class_files(own[name], root=root, label=label, left_out=left_out)
        )
    named = folders["train"] != root
    places = {part: f"{_relative(str(each), root)}/" for part, each in folders.items() if named}
    listing = Listing(root.name, root, classes, parts, places, left_out)
    _check_one_label(listing)
    return listing


def _class_folders(folder: Path) -> dict[str, Path]:
    """{class: its folder}. InputError for a link that leads nowhere, and a name in two forms."""
    found: dict[str, Path] = {}
    for entry in entries(folder):
        _check_link(entry)
        if not entry.is_dir():
            continue
        name = composed(entry.name)
        if name in found:
            raise InputError(
                f"'{folder}' holds the class '{name}' twice, in two Unicode forms "
                f"({found[name].name!a} and {entry.name!a}); put them together"
            )
        found[name] = Path(entry.path)
    return found


def _check_link(entry: os.DirEntry[str]) -> None:
    """Refuse a link that leads nowhere where its name is that of a folder."""
    ending = os.path.splitext(entry.name)[1]
    if _is_broken(entry) and not ending[1:2].isalpha():
        raise InputError(
            f"'{entry.path}' is a link to '{os.readlink(entry.path)}', which is not there; mount "
            f"or restore it, or remove the link"
        )


def _is_broken(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)


def _beside(root: Path, folders: dict[str, Path]) -> LeftOut:
    """What lies outside of the class folders, by kind: images, links and other folders."""
    left_out: LeftOut = defaultdict(list)
    for folder in dict.fromkeys((root, *folders.values())):
        for entry in entries(folder):
            if _is_broken(entry):
                if named_part(entry.name):
                    _check_link(entry)
                left_out["broken links"].append(_relative(entry.path, root))
            elif is_image(entry):
                left_out["images in no class folder"].append(_relative(entry.path, root))
    if folders["train"] != root:
        within = {_relative(str(folder), root).split("/")[0] for folder in folders.values()}
        others = [entry.name for entry in subfolders(root) if entry.name not in within]
        if others:
            left_out["folders"] = others
    return left_out


def _too_few(train: Path, classes: tuple[str, ...]) -> InputError:
    deeper = train / classes[0] if classes else train
    inside = f", or give '{deeper}' if they lie there" if classes and subfolders(deeper) else ""
    return InputError(
        f"'{train}' holds {len(classes)} class folders, and at least 2 are needed; "
        f"put the images in <class>/ or train/<class>/{inside}"
    )


def _class_files(folder: Path, *, root: Path, label: int, left_out: LeftOut) -> list[ImageFile]:
    """Sorted by name; the others go to `left_out`."""
    files: list[ImageFile] = []
    others: LeftOut = defaultdict(list)
    try:
        for entry in files_below(folder):
            relative = _relative(entry.path, root)
            if is_image(entry):
                files.append(image_file(entry.path, relative=relative, label=label))
            else:
                ending = os.path.splitext(entry.name)[1].lower() or "files without ending"
                others["broken links" if _is_broken(entry) else ending].append(relative)
    except OSError as error:
        raise InputError(f"cannot read '{error.filename or folder}': {error.strerror}") from None
    if not files:
        but = f", but {told_counts(others)}" if others else ""
        raise InputError(
            f"class folder '{folder}' holds no images ({', '.join(SUFFIXES)}){but}; "
            f"put some in or remove the folder"
        )
    for kind, names in others.items():
        left_out[kind] += names
    return sorted(files, key=lambda file: file.relative)


def _relative(path: str, root: Path) -> str:
    """With "/"; `.` is the root itself."""
    return path.removeprefix(str(root)).lstrip(os.sep).replace(os.sep, "/") or "."


def _check_one_label(listing: Listing) -> None:
    """Refuse a file that links put into two classes."""
    seen: dict[str, ImageFile] = {}
    for file in listing.files:
        before = seen.setdefault(real_path(file.path), file)
        if before.label != file.label:
            raise InputError(
                f"'{before.relative}' and '{file.relative}' of '{listing.root}' are one file in "
                f"two classes; remove one of the links"
            )
