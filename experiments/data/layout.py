"""Which folders of an image folder are its parts, and which its classes.

Names tell, in any case and with any of the usual words. What they leave open is refused with the
setting that settles it, `data.layout` or `data.parts`: a wrong guess would train on other classes.
"""

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from experiments.config.messages import say_once
from experiments.config.schema import DataConfig
from experiments.data.listing import PARTS, composed
from search_spaces.records import InputError

# Other files are not images, and are left out; so is whatever starts with a dot.
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
JUNK = ("__MACOSX", "@eaDir", "lost+found", "Thumbs.db", "desktop.ini")  # systems put them anywhere

_PART_WORDS = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev", "development", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
}
_PART_OF = {word: part for part, words in _PART_WORDS.items() for word in words}
_FILLERS = ("", "set", "sets", "data", "dataset", "images", "image", "imgs", "split", "seg")

_T = TypeVar("_T")


def named_part(name: str) -> str | None:
    """The part that a name means, as `Training`, `test_set` or `val2017` do, or None."""
    words = _words(name)
    parts = {_PART_OF[word] for word in words if word in _PART_OF}
    rest = [word for word in words if word not in _PART_OF and word not in _FILLERS]
    return parts.pop() if len(parts) == 1 and not rest else None


def _words(name: str) -> list[str]:
    """`testSet_01` and `testset` -> test, set."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    words: list[str] = []
    for word in re.findall(r"[^\W\d_]+", spaced.lower()):
        whole = [(part, fill) for part in _PART_OF for fill in _FILLERS if part + fill == word]
        words += whole[0] if whole else (word,)
    return words


@dataclass(frozen=True)
class Folder:
    """A folder below the root, and what lies directly in it."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    @cached_property
    def images(self) -> int:
        """How many lie directly in it."""
        return sum(map(is_image, entries(self.path)))

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """The names of the folders directly in it."""
        return tuple(composed(entry.name) for entry in subfolders(self.path))

    @cached_property
    def is_flat(self) -> bool:
        """Whether it holds images as a class does, and not only a stray one beside its folders."""
        if not self.images or not self.folders:
            return bool(self.images)
        below = (images_below(self.path / entry.name) for entry in subfolders(self.path))
        return self.images >= sum(1 for images in below for _ in images)

    @cached_property
    def holds_images(self) -> bool:
        """Directly or at any depth; False where it cannot be read, as `lost+found`."""
        try:
            return any(True for _ in images_below(self.path))
        except (OSError, InputError):
            return False


def part_folders(root: Path, config: DataConfig) -> dict[str, Path]:
    """{part: the folder that holds its class folders}; {train: root} where it has no parts.

    Raises InputError where the names leave open what is meant.
    """
    if config.parts is not None:
        return _as_named(root, config)
    if config.layout == "classes":
        return {"train": root}
    folders = [Folder(Path(entry.path)) for entry in subfolders(root)]
    alike = [folder for folder in folders if named_part(folder.name)]
    parts = [folder for folder in alike if not folder.is_flat]
    if not parts and config.layout == "auto":
        _check_classes(root, folders, alike)
        return {"train": root}
    found: dict[str, Folder] = {}
    for folder in parts:
        part = str(named_part(folder.name))
        if part in found:
            raise InputError(
                f"'{root}' holds both {found[part].name}/ and {folder.name}/ for the {part} part; "
                f"remove or rename one, or name the parts, as {_setting(parts)}"
            )
        found[part] = folder
    if "train" not in found:
        has = " and ".join(f"{folder.name}/" for folder in parts) or "no folder of parts"
        raise InputError(
            f"'{root}' holds {has} but no train/; put the training images in train/<class>/, "
            f"name the parts, as {_setting(parts)}, or set `data.layout: classes`"
        )
    if config.layout == "auto":
        _check_left_over(root, list(found.values()), folders)
    return {part: _innermost(found[part].path) for part in _PART_WORDS if part in found}


def _as_named(root: Path, config: DataConfig) -> dict[str, Path]:
    assert config.parts is not None
    there = {composed(entry.name): Path(entry.path) for entry in subfolders(root)}
    found = {}
    for part, name in config.parts.named().items():
        found[part] = there.get(composed(name), root / name)
        if not found[part].is_dir():
            raise InputError(
                f"data.parts: the {part} part is '{name}', but '{root}' has no such folder; it "
                f"holds {', '.join(f'{each}/' for each in sorted(there)) or 'no folders'}"
            )
    return found


def each_named(
    root: Path, config: DataConfig, look: Callable[[Path], _T | None], *, what: str
) -> dict[str, _T] | None:
    """{part: what `look` finds in the folder that `data.parts` names}; None where it finds nothing.

    Raises InputError for a folder that is not there, and for one without `what` beside others.
    """
    folders = _as_named(root, config)
    found = {part: own for part, path in folders.items() if (own := look(path)) is not None}
    bare = [part for part in folders if part not in found]
    if found and bare:
        raise InputError(
            f"data.parts: the {bare[0]} part is '{folders[bare[0]]}', but no {what} lie beside its "
            f"images; add them, or leave that part out"
        )
    return found or None


def folders_by_part(folder: Path | None) -> dict[str, Path]:
    """{part: the folder in this one that its name means}, in the order of PARTS."""
    inner = [] if folder is None else subfolders(folder)
    found = {part: Path(each.path) for each in inner if (part := named_part(each.name))}
    return {part: found[part] for part in PARTS if part in found}


def tell_bare_parts(folders: dict[str, Path], taken: Collection[str], *, what: str) -> None:
    """A line for each folder of a part that has images but none of `what`: it is left out."""
    for part, path in folders.items():
        if part not in taken and Folder(path).holds_images:
            say_once(f"data: '{path}' is left out: no {what} lie beside its images")


def _innermost(folder: Path) -> Path:
    """`seg_train/seg_train`, as archives are often packed: the one that holds the class folders."""
    inner = subfolders(folder)
    if len(inner) == 1 and named_part(inner[0].name) == named_part(folder.name):
        return _innermost(Path(inner[0].path))
    return folder


def _check_classes(root: Path, folders: list[Folder], alike: list[Folder]) -> None:
    """Refuse parts that hold no class folders, and classes that look like parts of other names."""
    if len({named_part(folder.name) for folder in alike}) > 1:
        raise InputError(
            f"{_quoted(alike)} of '{root}' have the names of parts, but hold images and no class "
            f"folders; sort these into class folders or give a table, or set `data.layout: "
            f"classes` if they are classes"
        )
    if len(folders) < 2 or any(folder.is_flat for folder in folders):
        return
    shared = sorted(set.intersection(*(set(folder.folders) for folder in folders)))
    if inner := [name for name in shared if named_part(name)]:
        raise InputError(
            f"the folders of '{root}', as '{folders[0].name}', each hold {inner[0]}/: parts within "
            f"classes are not read; put the parts outside, as {inner[0]}/{folders[0].name}/, or "
            f"give a table, or set `data.layout: classes` to take all images together"
        )
    if len(shared) > 1:
        raise InputError(
            f"{_quoted(folders)} of '{root}' hold no or few images, and each has '{shared[0]}' and "
            f"'{shared[1]}': are they parts or classes? Name the parts, as "
            f"{_setting(folders)}, or set `data.layout: classes`"
        )


def _check_left_over(root: Path, parts: list[Folder], folders: list[Folder]) -> None:
    """Refuse what lies beside the parts and could be a part, or a class, itself."""
    for folder in folders:
        if folder in parts or not folder.holds_images:
            continue
        hints = any(word in _PART_OF for word in _words(folder.name))
        alike = any(set(folder.folders) & set(part.folders) for part in parts)
        if hints or alike or len(parts) == 1:
            raise InputError(
                f"'{root}' holds {' and '.join(f'{part.name}/' for part in parts)} with class "
                f"folders, and {folder.name}/ beside: is that a part, a class, or to be left out? "
                f"Name the parts alone, as {_setting(parts)}, or set `data.layout: classes`"
            )


def _setting(folders: list[Folder]) -> str:
    """What names the parts in a config; their own names tell which is which, or their order."""
    hints = {
        _PART_OF[word]: folder.name
        for folder in reversed(folders)
        for word in _words(folder.name)
        if word in _PART_OF
    }
    names = [folder.name for folder in folders if folder.name not in hints.values()]
    hints.setdefault("train", names.pop(0) if names else "FOLDER")
    if len(hints) == 1 and names:
        hints["test"] = names[0]
    named = ", ".join(f"{part}: {hints[part]}" for part in _PART_WORDS if part in hints)
    return f"`data.parts: {{{named}}}`"


def _quoted(folders: list[Folder]) -> str:
    names = [f"'{folder.name}'" for folder in folders[:3]]
    return ", ".join(names) + (f" and {len(folders) - 3} more" if len(folders) > 3 else "")


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is neither hidden nor a system's own, sorted by name."""
    try:
        with os.scandir(folder) as found:
            shown = [each for each in found if each.name[0] != "." and each.name not in JUNK]
    except OSError as error:
        raise InputError(f"cannot read '{folder}': {error.strerror}") from None
    return sorted(shown, key=lambda entry: entry.name)


def subfolders(folder: Path) -> list[os.DirEntry[str]]:
    """The folders in it, as `entries`."""
    return [entry for entry in entries(folder) if entry.is_dir()]


def is_image(entry: os.DirEntry[str]) -> bool:
    """By its ending."""
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.is_dir()


def files_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every file at any depth."""
    for entry in entries(folder):
        if entry.is_dir():
            yield from files_below(Path(entry.path))
        else:
            yield entry


def images_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The images among `files_below`."""
    return filter(is_image, files_below(folder))
