"""Images with masks, `images/` and `masks/` by name: a class at each pixel, 255 for none.

They lie in the folder itself, in each part (`train/images/*`, `train/masks/*`), or the other way
round (`images/train/*`, `masks/train/*`). A mask is a PNG whose pixel values are the classes, with
or without a palette, or an RGB image whose colours stand in `classes.csv` (columns `name,r,g,b`).
"""

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.config.messages import say_once
from experiments.config.schema import DataConfig, Fit
from experiments.data.decoding import read_each, read_image, upright_size
from experiments.data.fitting import fit_square
from experiments.data.images import IGNORED
from experiments.data.layout import (
    SUFFIXES,
    each_named,
    files_below,
    folders_by_part,
    is_image,
    subfolders,
    tell_bare_parts,
)
from experiments.data.listing import PARTS, ImageFile, Listing, composed, image_file
from search_spaces.records import InputError

NEAREST = 0  # Pillow's number of the filter, which reads at the middle of each new pixel
FORMAT = 2  # to be raised when reading changes: older masks in the cache are then not found
_IMAGES = ("images", "image", "imgs", "img")
_MASKS = ("masks", "mask", "annotations", "labels")
_UNKNOWN = ("unlabelled", "unlabeled", "void", "ignore")  # names in classes.csv of no class
_TABLE = "classes.csv"


@dataclass(frozen=True)
class Classes:
    """The names of the classes, and the colours that stand for them in RGB masks."""

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int, int], ...] = ()  # r, g, b, and the class or IGNORED

    @property
    def of_classes(self) -> tuple[tuple[int, int, int], ...]:
        """The colour of each class; empty where the table has none."""
        return tuple((r, g, b) for r, g, b, label in self.colours if label != IGNORED)


@dataclass(frozen=True)
class Pairs:
    """Image files, part by part, and the file of each one's mask."""

    images: Listing  # its labels say nothing
    masks: tuple[ImageFile, ...]  # in the order of `images.files`
    table: Classes | None  # None: no classes.csv

    @cached_property
    def masks_listing(self) -> Listing:
        """The masks as files, for the cache's key."""
        return Listing(f"{self.images.name}-masks", self.images.root, (), {"train": self.masks})


def pair_folders(root: Path, config: DataConfig) -> dict[str, tuple[Path, Path]] | None:
    """{part: (its images/, its masks/)}; None where no folders of these names lie together."""
    if config.parts is not None:
        return each_named(root, config, _pair, what="masks")
    pair = _pair(root)
    if pair is not None:
        inner = [folders_by_part(folder) for folder in pair]
        if "train" not in inner[0]:
            return {"train": pair}
        if bare := [path for part, path in inner[0].items() if part not in inner[1]]:
            raise InputError(
                f"'{bare[0]}' has no masks: there is no '{pair[1] / bare[0].name}'; add them, or "
                f"remove the images"
            )
        return {part: (path, inner[1][part]) for part, path in inner[0].items()}
    folders = folders_by_part(root)
    pairs = {part: own for part, path in folders.items() if (own := _pair(path)) is not None}
    if "train" not in pairs:
        return None
    tell_bare_parts(folders, pairs, what="masks")
    return pairs


def _pair(folder: Path) -> tuple[Path, Path] | None:
    """The folders of images and of masks in it, if it has one of each."""
    names = {entry.name.lower(): Path(entry.path) for entry in subfolders(folder)}
    images, masks = (
        [names[name] for name in words if name in names] for words in (_IMAGES, _MASKS)
    )
    return (images[0], masks[0]) if images and masks else None


def list_pairs(root: Path, folders: dict[str, tuple[Path, Path]]) -> Pairs:
    """Each image with the mask of the same name, whatever the endings.

    Raises InputError for an image without a mask, a mask without an image, a name that stands
    twice, and a part without images.
    """
    root = root.resolve()
    parts, masks = {}, []
    for part, (images, labelled) in folders.items():
        own, theirs = _by_stem(images, root), _by_stem(labelled, root)
        if not own:
            raise InputError(f"'{images}' holds no images ({', '.join(SUFFIXES)}); put some in")
        for stem, file in own.items():
            if stem not in theirs:
                raise InputError(
                    f"image '{file.path}' has no mask '{labelled / stem}.png'; add it, or remove "
                    f"the image"
                )
        if extra := sorted(set(theirs) - set(own)):
            raise InputError(
                f"mask '{theirs[extra[0]].path}' has no image '{images / extra[0]}.*'; add it, or "
                f"remove the mask" + (f" (and {len(extra) - 1} more)" if extra[1:] else "")
            )
        parts[part] = tuple(own.values())
        masks += [theirs[stem] for stem in own]
    table = read_classes(root / _TABLE) if (root / _TABLE).is_file() else None
    return Pairs(Listing(root.name, root, (), parts), tuple(masks), table)


def _by_stem(folder: Path, root: Path) -> dict[str, ImageFile]:
    """{path below `folder` without its ending: the file}, sorted."""
    found: dict[str, ImageFile] = {}
    for entry in sorted(filter(is_image, files_below(folder.resolve())), key=lambda e: e.path):
        relative = composed(os.path.relpath(entry.path, folder.resolve()).replace(os.sep, "/"))
        stem = os.path.splitext(relative)[0].removesuffix("_mask")
        if stem in found:
            raise InputError(
                f"'{found[stem].path}' and '{entry.path}' have one name; remove one of them"
            )
        own = os.path.relpath(entry.path, root).replace(os.sep, "/")
        found[stem] = image_file(entry.path, relative=own, label=0)
    return found


def read_classes(path: Path) -> Classes:
    """The table of classes: `name`, and for RGB masks `r,g,b`. InputError names file and row.

    The first row is class 0, and so on; rows called `unlabelled`, `void` or `ignore` are none.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    names: list[str] = []
    colours: list[tuple[int, int, int, int]] = []
    for number, row in enumerate(rows, start=2):
        name = (row.get("name") or "").strip()
        if not name or name in names:
            raise InputError(
                f"'{path}', row {number}: name must be given and differ from the others, "
                f"but is {name!r}"
            )
        label = IGNORED if name.lower() in _UNKNOWN else len(names)
        names += [name] if label != IGNORED else []
        if "r" in row:
            try:
                red, green, blue = (int(row[channel]) for channel in "rgb")
            except (TypeError, ValueError, KeyError):
                raise InputError(
                    f"'{path}', row {number}: r, g and b must be whole numbers from 0 to 255"
                ) from None
            colours.append((red, green, blue, label))
    if len(names) < 2:
        raise InputError(f"'{path}' names {len(names)} classes, and at least 2 are needed")
    return Classes(tuple(names), tuple(colours))


def decode_masks(pairs: Pairs, *, image_size: int, fit: Fit, max_pixels: int) -> np.ndarray:
    """All masks as uint8 (N, S, S), fitted as their images, each pixel the nearest one's class.

    Raises InputError, with the file and the value, for a mask of another size than its image, a
    colour that is not in the table, and a class that is none of the table's.
    """
    files = pairs.images.files
    places = {image.path: mask.path for image, mask in zip(files, pairs.masks, strict=True)}

    def mask_of(image: str) -> np.ndarray:
        size = read_image(image, upright_size, max_pixels)
        values = read_mask(places[image], pairs.table, max_pixels=max_pixels)
        if values.shape != size[::-1]:
            wide, tall = values.shape[1], values.shape[0]
            raise InputError(
                f"mask '{places[image]}' is {wide} x {tall} px, but its image '{image}' is "
                f"{size[0]} x {size[1]}; they must be equal"
            )
        return fit_mask(values, image_size, fit=fit)

    masks = np.empty((len(files), image_size, image_size), dtype=np.uint8)
    for number, mask in enumerate(read_each(files, mask_of, what="data: decoded {} masks")):
        masks[number] = mask
    return masks


def read_mask(path: str, table: Classes | None, *, max_pixels: int) -> np.ndarray:
    """One mask's classes, uint8 (H, W); IGNORED where there is none."""

    def classes(image: Image.Image) -> np.ndarray:
        if image.mode in ("1", "L", "P"):  # of a palette the numbers count, not the colours
            step = _grey_step(image)
            return np.asarray(image).astype(np.uint8) // step
        if image.mode in ("I", "I;16"):
            values = np.asarray(image)
            return np.where(values > IGNORED, IGNORED, values).astype(np.uint8)
        return np.asarray(image.convert("RGB"))

    values = read_image(path, classes, max_pixels)
    if values.ndim == 3:
        return _from_colours(values, path, table)
    if table is not None:
        _check_range(values, len(table.names), path)
    return values


def _grey_step(image: Image.Image) -> int:
    """What Pillow multiplies the values of a grey PNG of 2 or 4 bits by, to fill 0 to 255."""
    tile = getattr(image, "tile", None)
    return {"L;2": 0xFF // 3, "L;4": 0xFF // 15}.get(tile[0].args, 1) if tile else 1


def _check_range(values: np.ndarray, count: int, path: str) -> None:
    wrong = (values >= count) & (values != IGNORED)
    if wrong.any():
        row, column = (int(each[0]) for each in np.nonzero(wrong))
        raise InputError(
            f"mask '{path}' has the class {values[row, column]} at column {column}, row {row}, but "
            f"{_TABLE} names {count}: 0 to {count - 1}, and {IGNORED} for none"
        )


def _from_colours(pixels: np.ndarray, path: str, table: Classes | None) -> np.ndarray:
    if table is None or not table.colours:
        raise InputError(
            f"mask '{path}' is in colours; say which class each is in {_TABLE} beside the parts, "
            f"with the columns name,r,g,b"
        )
    code = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    found = np.full(code.shape, -1, dtype=np.int16)
    for red, green, blue, label in table.colours:
        found[code == (red << 16) + (green << 8) + blue] = label
    if (found < 0).any():
        row, column = (int(each[0]) for each in np.nonzero(found < 0))
        colour = tuple(int(value) for value in pixels[row, column])
        raise InputError(
            f"mask '{path}' has the colour {colour} at column {column}, row {row}, which is not in "
            f"{_TABLE}; add its class, or a row `unlabelled`"
        )
    return found.astype(np.uint8)


def fit_mask(values: np.ndarray, size: int, *, fit: Fit) -> np.ndarray:
    """A mask as `size` x `size` pixels, as `fit_square` makes its image; beside it is IGNORED."""
    # Beyond an image's edges Pillow puts 0, so the numbers are turned round: 0 is then IGNORED.
    turned = Image.fromarray(IGNORED - values)
    return IGNORED - np.asarray(fit_square(turned, size, fit=fit, resample=NEAREST))


def class_names(pairs: Pairs, masks: np.ndarray) -> tuple[str, ...]:
    """Those of the table, or the numbers from 0 to the largest in the masks of all parts.

    Raises InputError for fewer than two, as where 0 and 255 are meant for two classes.
    """
    if pairs.table is not None:
        return pairs.table.names
    values = np.flatnonzero(np.bincount(masks.ravel(), minlength=256))
    known = values[values != IGNORED]
    if len(known) < 2:
        raise InputError(
            f"the masks of '{pairs.images.root}' hold the values {', '.join(map(str, values))}, "
            f"and {IGNORED} means no class: use 0, 1, ... for the classes, or save them as RGB "
            f"with a {_TABLE}"
        )
    return tuple(str(number) for number in range(int(known[-1]) + 1))


def strata(masks: np.ndarray, classes: int) -> np.ndarray:
    """int64 (N,): of each image the rarest class in it, by which images are divided.

    Strata of fewer than three images join the next common one, so that each can be cut.
    """
    counts = [np.bincount(mask.ravel(), minlength=256)[:classes] for mask in masks]
    return strata_of(np.stack(counts))


def strata_of(counts: np.ndarray) -> np.ndarray:
    """`strata` of images with so many of each class, int (N, classes)."""
    classes = counts.shape[1]
    order = np.argsort(counts.sum(axis=0), kind="stable")  # the rarest class first
    chosen = np.argmax(counts[:, order] > 0, axis=1)  # 0 too where nothing is labelled
    ranks = np.arange(classes)
    for rank in range(classes - 1):
        if (ranks[chosen] == rank).sum() < 3:
            ranks[ranks == rank] = rank + 1
    merged = ranks[chosen]
    if (merged == classes - 1).sum() < 3:
        merged[merged == classes - 1] = np.sort(np.unique(merged))[-2:][0]
    return np.unique(merged, return_inverse=True)[1].astype(np.int64)


def tell_masks(
    pairs: Pairs, classes: Sequence[str], train: np.ndarray, share: Callable[[float], str]
) -> None:
    """One line: that the task is segmentation, the parts, and each class's share of the pixels."""
    parts = pairs.images.parts
    counts = np.bincount(train.ravel(), minlength=256)
    told = [f"{part} {len(files):,} images" for part, files in parts.items()]
    told += [f"{part} is cut from train" for part in PARTS if part not in parts]
    shares = [
        f"{name} {share(counts[number] / counts.sum())}" for number, name in enumerate(classes)
    ]
    if counts[IGNORED]:
        shares.append(f"no class {share(counts[IGNORED] / counts.sum())}")
    say_once(
        f"data: '{pairs.images.name}': segmentation, as images lie beside masks: "
        f"{', '.join(told)}; {len(classes)} classes by pixels of train: {', '.join(shares)}"
    )
