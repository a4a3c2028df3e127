"""Where boxes lie: COCO JSON, Pascal VOC XML or YOLO txt beside images, and which part each is of.

Each part may have its own folder (`train/images/*`, `train/instances.json`), or the parts lie below
(`images/train/*`, `labels/train/*`), or COCO's files name them, as `instances_train.json`.
"""

import json
import os
import re
from collections.abc import Container, Iterable
from os import DirEntry
from pathlib import Path
from typing import Literal, NamedTuple

from experiments.config.schema import DataConfig
from experiments.data.annotation_files import NAMES, yolo_classes
from experiments.data.layout import entries, files_below, is_image, named_part, subfolders
from experiments.data.listing import PARTS

_IMAGES = ("images", "jpegimages", "image", "imgs", "img")
_LABELS = ("annotations", "labels", "xmls", "annotation")
_NO_BOXES = ("captions", "person_keypoints", "panoptic", "stuff", "image_info")  # of COCO's files
_OF_COCO = re.compile("instances|annotations|coco", flags=re.IGNORECASE)


class Source(NamedTuple):
    """Where the images of one part lie, and the file, or the folder of files, with their boxes."""

    form: Literal["coco", "voc", "yolo"]
    images: Path
    annotations: Path
    stems: frozenset[str] | None = None  # of the part's images, where a list names them


def find_boxes(root: Path, config: DataConfig) -> dict[str, Source] | None:
    """{part: where its images and boxes lie}; None where no such files lie beside images."""
    root = root.resolve()
    if config.parts is not None:
        named = {part: root / name for part, name in config.parts.named().items()}
        return _of_folders({part: path for part, path in named.items() if path.is_dir()}) or None
    ways = (_of_folders(_by_part(root)), _below(root), _voc_sets(root), _coco_files(root))
    for found in (*ways, _of_folders({"train": root})):
        if "train" in found:
            return {part: found[part] for part in PARTS if part in found}
    return None


def _of_folders(folders: dict[str, Path]) -> dict[str, Source]:
    found = {part: _of_folder(folder) for part, folder in folders.items()}
    return {part: source for part, source in found.items() if source is not None}


def _by_part(folder: Path | None) -> dict[str, Path]:
    named = {} if folder is None else {each.name: Path(each.path) for each in subfolders(folder)}
    return {part: path for name, path in named.items() if (part := named_part(name)) is not None}


def _child(folder: Path, words: tuple[str, ...]) -> Path | None:
    """The folder in it of one of these names, in any case; the first of them."""
    names = {entry.name.lower(): Path(entry.path) for entry in subfolders(folder)}
    return next((names[word] for word in words if word in names), None)


def _of_folder(folder: Path) -> Source | None:
    """Images and their boxes in one folder; of several forms COCO's goes first, then VOC's."""
    images, labels = _child(folder, _IMAGES), _child(folder, _LABELS)
    # Right in the folder, and not below: there class folders may lie.
    of_images = list(entries(folder) if images is None else files_below(images))
    if not any(map(is_image, of_images)):
        return None
    stems = {os.path.splitext(entry.name)[0] for entry in of_images if is_image(entry)}
    files = [path for place in (folder, labels) if place is not None for path in _jsons(place)]
    if files:
        first = [path for path in files if "instances" in path.name] or files
        return Source("coco", images or folder, first[0])
    for place in (labels, images):
        form = None if place is None else _form_of(files_below(place), stems)
        if place is not None and form is not None:
            return Source(form, images or folder, place)
    form = _form_of(entries(folder), stems)
    # txt files right beside images may be anything, so there the classes must be named too.
    if form == "voc" or (form == "yolo" and yolo_classes([folder]) is not None):
        return Source(form, images or folder, folder)
    return None


def _jsons(folder: Path) -> list[Path]:
    """COCO's files of boxes right in a folder."""
    paths = [Path(entry.path) for entry in entries(folder) if entry.name.lower().endswith(".json")]
    paths = [path for path in paths if not path.name.startswith(_NO_BOXES)]
    return [path for path in paths if _OF_COCO.search(path.name) or _is_coco(path)]


def _is_coco(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def _form_of(
    files: Iterable[DirEntry[str]], stems: Container[str] | None = None
) -> Literal["voc", "yolo"] | None:
    """By the first file of boxes; with `stems`, those of images, notes beside them are none."""
    for entry in files:
        if stems is not None and os.path.splitext(entry.name)[0] not in stems:
            continue
        if entry.name.lower().endswith(".xml"):
            return "voc"
        if entry.name.lower().endswith(".txt") and entry.name not in NAMES:
            return "yolo"
    return None


def _below(root: Path) -> dict[str, Source]:
    """`images/train/*` with `labels/train/*`."""
    images, labels = (_by_part(_child(root, words)) for words in (_IMAGES, _LABELS))
    shared = sorted(images.keys() & labels.keys())
    forms = {part: _form_of(files_below(labels[part])) for part in shared}
    return {p: Source(form, images[p], labels[p]) for p, form in forms.items() if form is not None}


def _voc_sets(root: Path) -> dict[str, Source]:
    """Pascal VOC as published: ImageSets/Main/train.txt names the images of a part."""
    images, labels = _child(root, ("jpegimages",)), _child(root, ("annotations",))
    lists = root / "ImageSets" / "Main"
    if images is None or labels is None or not lists.is_dir():
        return {}
    found = {}
    for name, part in {"train.txt": "train", "val.txt": "validation", "test.txt": "test"}.items():
        if (lists / name).is_file():
            stems = frozenset((lists / name).read_text(encoding="utf-8").split())
            found[part] = Source("voc", images, labels, stems)
    return found


def _coco_files(root: Path) -> dict[str, Source]:
    """`annotations/instances_train.json` with `train/*`, `images/train/*` or `images/*`."""
    found = {}
    images = _child(root, _IMAGES)
    for path in _jsons(_child(root, _LABELS) or root):
        part = named_part(_OF_COCO.sub(" ", path.stem))
        if part is not None:
            below = [_by_part(root).get(part), _by_part(images).get(part), images, root]
            found[part] = Source("coco", next(place for place in below if place), path)
    return found
