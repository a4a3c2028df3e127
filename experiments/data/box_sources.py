"""Where boxes lie: COCO JSON, Pascal VOC XML or YOLO txt beside images, and which part each is of.

Each part may have its own folder (`train/images/*`, `train/instances.json`), or the parts lie below
(`images/train/*`, `labels/train/*`), or COCO's files name them, as `instances_train.json`.
"""

import json
import os
import re
from collections.abc import Container, Iterable
from functools import lru_cache
from os import DirEntry
from pathlib import Path
from typing import Literal, NamedTuple

from experiments.config.messages import say_once
from experiments.config.schema import DataConfig
from experiments.data.annotation_files import NAMES, yolo_classes
from experiments.data.layout import (
    each_named,
    entries,
    files_below,
    folders_by_part,
    is_image,
    named_part,
    subfolders,
    tell_bare_parts,
)
from experiments.data.listing import PARTS
from search_spaces.records import InputError

_IMAGES = ("images", "jpegimages", "image", "imgs", "img")
_LABELS = ("annotations", "labels", "xmls", "annotation")
_NO_BOXES = ("captions", "person_keypoints", "panoptic", "stuff", "image_info")  # of COCO's files
_KEYS = ("images", "annotations", "categories")  # of a COCO file
_OF_COCO = re.compile("instances|annotations|coco", flags=re.IGNORECASE)
_SURELY_COCO = re.compile(r"^instances|\.coco\.json$", flags=re.IGNORECASE)  # no other file's name


class BoxFiles(NamedTuple):
    """Where the images of one part lie, and the file, or the folder of files, with their boxes."""

    form: Literal["coco", "voc", "yolo"]
    images: Path
    annotations: Path
    stems: frozenset[str] | None = None  # of the part's images, where a list names them


def find_box_files(root: Path, config: DataConfig) -> dict[str, BoxFiles] | None:
    """{part: where its images and boxes lie}; None where no such files lie beside images."""
    root = root.resolve()
    if config.parts is not None:
        return each_named(root, config, _of_folder, what="boxes")
    for way in (_by_part, _below, _voc_sets, _coco_files, _whole):
        found = way(root)
        if "train" in found:
            below = folders_by_part(_child(root, _IMAGES)) | folders_by_part(root)
            tell_bare_parts(below, found, what="boxes")
            return {part: found[part] for part in PARTS if part in found}
    return None


def _by_part(root: Path) -> dict[str, BoxFiles]:
    """`train/` with its own images and boxes, and so on."""
    own = {part: _of_folder(path) for part, path in folders_by_part(root).items()}
    return {part: source for part, source in own.items() if source is not None}


def _whole(root: Path) -> dict[str, BoxFiles]:
    """No parts: the folder itself."""
    source = _of_folder(root)
    return {} if source is None else {"train": source}


def _child(folder: Path, words: tuple[str, ...]) -> Path | None:
    """The folder in it of one of these names, in any case; the first of them."""
    names = {entry.name.lower(): Path(entry.path) for entry in subfolders(folder)}
    return next((names[word] for word in words if word in names), None)


def _of_folder(folder: Path) -> BoxFiles | None:
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
        return BoxFiles("coco", images or folder, first[0])
    for place in (labels, images):
        form = None if place is None else _form_of(files_below(place), stems)
        if place is not None and form is not None:
            return BoxFiles(form, images or folder, place)
    form = _form_of(entries(folder), stems)
    # txt files right beside images may be anything, so there the classes must be named too.
    if form == "voc" or (form == "yolo" and yolo_classes([folder]) is not None):
        return BoxFiles(form, images or folder, folder)
    return None


def _jsons(folder: Path) -> list[Path]:
    """COCO's files of boxes right in a folder; what may have only the name of one is told.

    Raises InputError for a damaged file whose name no other kind of file has.
    """
    found = []
    for entry in entries(folder):
        if not entry.name.lower().endswith(".json") or entry.name.startswith(_NO_BOXES):
            continue
        damage = _why_no_coco(entry.path, entry.stat().st_mtime_ns)
        if damage is None:
            found.append(Path(entry.path))
        elif _SURELY_COCO.search(entry.name):
            raise InputError(
                f"'{entry.path}' is no COCO file: {damage}; correct it, or rename it if it holds "
                f"no boxes"
            )
        elif _OF_COCO.search(entry.name):
            say_once(
                f"data: '{entry.path}' is left out: it is no COCO file, which is JSON with "
                f"`images`, `annotations` and `categories`"
            )
    return found


@lru_cache(maxsize=256)  # a file may have hundreds of MB, and several ways look at it
def _why_no_coco(path: str, mtime_ns: int) -> str | None:  # noqa: ARG001, what changes is read anew
    """Why a file is no COCO file; None for one that is."""
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        return f"it is no JSON that can be read ({error})"
    lists = content if isinstance(content, dict) else {}
    bare = [f"`{key}`" for key in _KEYS if not isinstance(lists.get(key), list)]
    return f"it has no list {' and no list '.join(bare)}" if bare else None


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


def _below(root: Path) -> dict[str, BoxFiles]:
    """`images/train/*` with `labels/train/*`."""
    images, labels = (folders_by_part(_child(root, words)) for words in (_IMAGES, _LABELS))
    shared = sorted(images.keys() & labels.keys())
    forms = {part: _form_of(files_below(labels[part])) for part in shared}
    return {
        p: BoxFiles(form, images[p], labels[p]) for p, form in forms.items() if form is not None
    }


def _voc_sets(root: Path) -> dict[str, BoxFiles]:
    """Pascal VOC as published: ImageSets/Main/train.txt names the images of a part."""
    images, labels = _child(root, ("jpegimages",)), _child(root, ("annotations",))
    lists = root / "ImageSets" / "Main"
    if images is None or labels is None or not lists.is_dir():
        return {}
    found = {}
    for name, part in {"train.txt": "train", "val.txt": "validation", "test.txt": "test"}.items():
        if (lists / name).is_file():
            stems = frozenset((lists / name).read_text(encoding="utf-8").split())
            found[part] = BoxFiles("voc", images, labels, stems)
    return found


def _coco_files(root: Path) -> dict[str, BoxFiles]:
    """`annotations/instances_train.json` with `train/*`, `images/train/*` or `images/*`."""
    found: dict[str, BoxFiles] = {}
    images = _child(root, _IMAGES)
    own, below = folders_by_part(root), folders_by_part(images)
    for path in _jsons(_child(root, _LABELS) or root):
        part = named_part(_OF_COCO.sub(" ", path.stem))
        if part is None:
            continue
        if part in found:
            raise InputError(
                f"'{found[part].annotations}' and '{path}' both have boxes of the {part} part; "
                f"remove one"
            )
        places = (own.get(part), below.get(part), images, root)
        found[part] = BoxFiles("coco", next(place for place in places if place), path)
    return found
