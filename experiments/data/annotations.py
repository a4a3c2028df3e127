"""Images with boxes: what their files say of each image, in the pixels of the stored images.

What cannot be meant is refused with file and value; what is left out or clipped is told.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import DirEntry
from pathlib import Path

import numpy as np

from experiments.config.messages import say_once
from experiments.config.schema import Fit
from experiments.data.annotation_files import (
    NAMES,
    Annotation,
    read_coco,
    read_voc,
    read_yolo,
    yolo_classes,
)
from experiments.data.box_sources import BoxFiles
from experiments.data.boxes import LEAST, Boxes, area, clip
from experiments.data.fitting import fit_boxes
from experiments.data.layout import files_below, is_image
from experiments.data.listing import (
    PARTS,
    ImageFile,
    Listing,
    class_order,
    composed,
    image_file,
    told_counts,
)
from search_spaces.records import InputError

_FORMS = {"coco": "COCO JSON", "voc": "Pascal VOC XML", "yolo": "YOLO txt"}
_ROUNDING = 0.5  # px that a box may reach beyond its image before it is told


@dataclass(frozen=True, eq=False)
class Labelled:
    """Image files, part by part, and what the files of boxes say of each."""

    images: Listing  # its labels say nothing
    annotations: tuple[Annotation, ...]  # in the order of `images.files`
    form: str  # as people read it
    notes: tuple[str, ...]  # what was left out, each a few words


def list_boxes(root: Path, sources: Mapping[str, BoxFiles]) -> Labelled:
    """Each image with what the files say of it; one that they say nothing of has no boxes.

    Raises InputError for boxes without their image, and for what the files must not say.
    """
    root = root.resolve()
    parts, annotations, notes = {}, [], []
    order: dict[str, None] = {}  # the classes, as they come
    for part, source in sources.items():
        if source.form == "coco":
            own, names, told = _coco_part(source, root)
        else:
            own, names, told = _part_of_files(source, root)
        if not own:
            raise InputError(f"'{source.images}' holds no images with boxes; put some in")
        parts[part] = tuple(file for file, _ in own)
        annotations += [annotation for _, annotation in own]
        order |= dict.fromkeys(names)
        notes += told
    used = {name for annotation in annotations for name in annotation.names}
    classes = tuple(name for name in order if name in used or sources["train"].form == "yolo")
    if unused := [name for name in order if name not in classes]:
        notes.append(f"{_plural(len(unused), 'class', 'es')} without boxes ('{unused[0]}')")
    if not used:
        raise InputError(f"the files of boxes of '{root}' hold no boxes; add some")
    form = _FORMS[sources["train"].form]
    return Labelled(
        Listing(root.name, root, classes, parts), tuple(annotations), form, tuple(notes)
    )


Part = tuple[list[tuple[ImageFile, Annotation]], Iterable[str], list[str]]
_NOTHING = Annotation("", np.zeros((0, 4)), ())


def _coco_part(source: BoxFiles, root: Path) -> Part:
    """What the JSON lists is the part; other images are left out."""
    found, classes, crowds = read_coco(source.annotations)
    own = []
    for name, annotation in sorted(found.items()):
        places = (source.images / name, source.annotations.parent / name, root / name)
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise InputError(
                f"'{source.annotations}' has the image '{name}', but there is no "
                f"'{source.images / name}'; add it, remove it from the file, or set "
                f"`data.task: classification` where the file is not about these images"
            )
        own.append((_image(path, root), annotation))
    told = [f"{_plural(crowds, 'crowd')} of '{source.annotations.name}'"] if crowds else []
    listed = {file.path for file, _ in own}
    beside = [e.path for e in files_below(source.images) if is_image(e) and e.path not in listed]
    if beside and source.images not in (root, source.annotations.parent.parent / "images"):
        first = os.path.basename(beside[0])
        told.append(
            f"{_plural(len(beside), 'image')} not in '{source.annotations.name}' ('{first}')"
        )
    return own, classes, told


def _part_of_files(source: BoxFiles, root: Path) -> Part:
    """A file of boxes for each image, of the same name."""
    ending = ".xml" if source.form == "voc" else ".txt"
    images = _by_stem(source.images, is_image, source.stems)
    files = _by_stem(
        source.annotations,
        lambda e: e.name.lower().endswith(ending) and e.name not in NAMES,
        source.stems,
    )
    if extra := sorted(files.keys() - images.keys()):
        raise InputError(
            f"'{files[extra[0]]}' has no image '{source.images / extra[0]}.*'; add it, or remove "
            f"the file" + (f" (and {len(extra) - 1} more)" if extra[1:] else "")
        )
    if missing := (source.stems or frozenset[str]()) - images.keys():
        raise InputError(f"'{min(missing)}' is listed, but '{source.images}' holds no such image")
    named = yolo_classes([root, source.annotations.parent, source.annotations])
    own = []
    for stem, path in images.items():
        annotation = _NOTHING
        if stem in files:
            file = files[stem]
            annotation = read_voc(file) if ending == ".xml" else read_yolo(file, named)
        own.append((_image(path, root), annotation))
    used = sorted({name for _, each in own for name in each.names}, key=class_order)
    if ending == ".xml" or named is None:
        return own, used, []
    return own, named, []


def _by_stem(
    folder: Path, is_wanted: Callable[[DirEntry[str]], bool], stems: frozenset[str] | None
) -> dict[str, Path]:
    """{path below `folder` without its ending: the file}, sorted."""
    found: dict[str, Path] = {}
    for entry in sorted(filter(is_wanted, files_below(folder)), key=lambda each: each.path):
        stem = composed(os.path.splitext(os.path.relpath(entry.path, folder))[0])
        if stem in found:
            raise InputError(
                f"'{found[stem]}' and '{entry.path}' have one name; remove one of them"
            )
        if stems is None or stem in stems:
            found[stem] = Path(entry.path)
    return found


def _image(path: Path, root: Path) -> ImageFile:
    path = path.absolute()
    relative = composed(os.path.relpath(path, root).replace(os.sep, "/"))
    return image_file(str(path), relative=relative, label=0)


def place_boxes(
    found: Labelled, sizes: np.ndarray, *, image_size: int, fit: Fit
) -> tuple[Boxes, dict[str, list[str]]]:
    """The boxes in the pixels of the stored images, and what was left out or clipped, by kind.

    `sizes` are the images' own (width, height), int (N, 2). Boxes without area are left out; those
    that reach beyond the image are clipped; those that `fit` cuts off are dropped where a tenth or
    less is left. Raises InputError for a box wholly outside, and for boxes of an image of another
    size.
    """
    number = {name: i for i, name in enumerate(found.images.classes)}
    corners, classes = [], []
    faults: dict[str, list[str]] = defaultdict(list)
    files = zip(found.images.files, found.annotations, sizes.tolist(), strict=True)
    for file, annotation, (width, height) in files:
        own, kept = _checked(annotation, file, (width, height), faults)
        square = fit_boxes(own, width=width, height=height, size=image_size, fit=fit)
        within = clip(square, width=image_size, height=image_size, least=LEAST)
        if lost := int((~within.kept).sum()):
            faults[f"boxes that fit: {fit} cuts off"] += [file.relative] * lost
        labels = np.array([number[name] for name in annotation.names], dtype=np.int64)
        corners.append(within.corners)
        classes.append(labels[kept][within.kept])
    return Boxes.of(corners, classes), faults


def _checked(
    annotation: Annotation, file: ImageFile, size: tuple[int, int], faults: dict[str, list[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes in pixels of the image, within it; and which of those in the file they are."""
    if annotation.size not in (None, size):
        raise InputError(
            f"'{annotation.source}' has boxes for an image of {_by(annotation.size)} px, but "
            f"'{file.path}' is {_by(size)}; they must be equal"
        )
    width, height = size
    corners = annotation.corners
    if annotation.shares:
        corners = corners * [width, height, width, height]
    whole = area(corners) > 0
    faults["boxes without area"] += [file.relative] * int((~whole).sum())
    left, top, right, bottom = corners.T
    outside = whole & ((left >= width) | (top >= height) | (right <= 0) | (bottom <= 0))
    if outside.any():
        told = " ".join(f"{value:g}" for value in corners[outside][0])
        raise InputError(
            f"'{annotation.source}' has the box {told} (left, top, right, bottom), outside of "
            f"its image '{file.path}' of {_by(size)} px; correct it or remove it"
        )
    beyond = np.maximum(-corners[:, :2], corners[:, 2:] - [width, height]).max(1, initial=0)
    faults["boxes clipped to their image"] += [file.relative] * int(
        (whole & (beyond > _ROUNDING)).sum()
    )
    return clip(corners[whole], width=width, height=height).corners, whole


def _by(size: tuple[int, int] | None) -> str:
    return "? x ?" if size is None else f"{size[0]} x {size[1]}"


def _plural(count: int, noun: str, ending: str = "s") -> str:
    return f"{count:,} {noun}{ending if count != 1 else ''}"


def tell_boxes(found: Labelled, boxes: Boxes, faults: Mapping[str, list[str]], fit: Fit) -> None:
    """One line: that the task is detection, the parts, each class's boxes, what was left out."""
    parts, classes = found.images.parts, found.images.classes
    told = [f"{part} {len(files):,} images" for part, files in parts.items()]
    told += [f"{part} is cut from train" for part in PARTS if part not in parts]
    counts = boxes.by_class(len(classes)).sum(axis=0)
    of_classes = [f"{name} {count:,}" for name, count in zip(classes, counts, strict=True)]
    say_once(
        f"data: '{found.images.name}': detection, as {found.form} lies beside images: "
        f"{', '.join(told)}; {len(boxes.classes):,} boxes of {len(classes)} "
        f"class{'es' * (len(classes) != 1)}: {', '.join(of_classes)}; images become square by "
        f"fit: {fit}"
    )
    empty = int((boxes.counts == 0).sum())
    notes = [*found.notes, *([f"{_plural(empty, 'image')} without boxes, kept"] if empty else [])]
    if some := {kind: names for kind, names in faults.items() if names}:
        notes.append(told_counts(some))
    if notes:
        say_once(f"data: '{found.images.name}': {'; '.join(notes)}")
