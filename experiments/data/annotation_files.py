"""What the files of boxes say: COCO JSON, Pascal VOC XML, YOLO txt, read into `Annotation`s."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaml

from search_spaces.records import InputError

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")  # of YOLO's classes


@dataclass(frozen=True, eq=False)
class Annotation:
    """The boxes of one image as a file has them."""

    source: str  # the file
    corners: np.ndarray  # float64 (n, 4): left, top, right, bottom, in pixels
    names: tuple[str, ...]  # of each box's class
    size: tuple[int, int] | None = None  # (width, height) that the file says, if it does
    shares: bool = False  # whether the corners are shares of width and height, not pixels


def read_coco(path: Path) -> tuple[dict[str, Annotation], tuple[str, ...], int]:
    """{file_name: its boxes}, the classes by their ids, and how many crowds were left out.

    Raises InputError for a file that is not COCO's, for boxes of an image or a class that it does
    not list, and for what is no box.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        images = {each["id"]: (str(each["file_name"]), _size(each)) for each in content["images"]}
        classes = {each["id"]: str(each["name"]) for each in content["categories"]}
        boxes = [dict(box) for box in content["annotations"]]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"'{path}' is no COCO file ({type(error).__name__}: {error}); it must be JSON with "
            f"`images`, `annotations` and `categories`"
        ) from None
    corners: dict[Any, list[list[float]]] = {number: [] for number in images}
    names: dict[Any, list[str]] = {number: [] for number in images}
    crowds = 0
    for number, box in enumerate(boxes):
        place = f"'{path}', annotation {box.get('id', number)}"
        if box.get("iscrowd"):
            crowds += 1
            continue
        _known(box.get("image_id"), images, "image_id", place)
        _known(box.get("category_id"), classes, "category_id", place)
        left, top, width, height = _numbers(box.get("bbox"), 4, f"{place}: bbox")
        corners[box["image_id"]].append([left, top, left + width, top + height])
        names[box["image_id"]].append(classes[box["category_id"]])
    repeated = [name for name, count in Counter(n for n, _ in images.values()).items() if count > 1]
    if repeated:
        raise InputError(
            f"'{path}' has the image '{repeated[0]}' more than once; give it one entry in `images`"
        )
    found = {
        name: Annotation(str(path), _array(corners[number]), tuple(names[number]), size)
        for number, (name, size) in images.items()
    }
    return found, tuple(classes[number] for number in sorted(classes)), crowds


def _known(value: Any, known: Mapping[Any, Any], field: str, place: str) -> None:
    if value not in known:
        raise InputError(f"{place}: {field} {value!r} is not among the file's {len(known)}")


def _size(values: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = (int(float(values.get(name) or 0)) for name in ("width", "height"))
    return (width, height) if width > 0 and height > 0 else None


def read_voc(path: Path) -> Annotation:
    """The boxes of one XML file. InputError for one that is damaged or has no numbers there."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read '{path}' ({error}); replace it or remove it") from None
    corners, names = [], []
    for number, thing in enumerate(root.iter("object")):
        place = f"'{path}', object {number}"
        name, box = (thing.findtext("name") or "").strip(), thing.find("bndbox")
        if not name or box is None:
            raise InputError(f"{place}: it must have a name and a bndbox")
        sides = [box.findtext(side) for side in ("xmin", "ymin", "xmax", "ymax")]
        corners.append(_numbers(sides, 4, f"{place}: bndbox"))
        names.append(name)
    size = root.find("size")
    told = {} if size is None else {each.tag: each.text for each in size}
    return Annotation(str(path), _array(corners), tuple(names), _size(told))


def read_yolo(path: Path, classes: tuple[str, ...] | None) -> Annotation:
    """The boxes of one txt file: lines of class, then centre, width and height as shares.

    A line of more than five numbers is a polygon, whose bounds are taken. Without `classes` the
    numbers are the names. Raises InputError, with the line, for what is no box or no class.
    """
    corners, names = [], []
    for number, line in enumerate(path.read_text("utf-8-sig", "replace").splitlines(), start=1):
        if not (words := line.split()):
            continue
        place = f"'{path}', line {number}"
        polygon = len(words) > 5 and len(words) % 2
        values = _numbers(words, len(words) if polygon else 5, f"{place}: class and box")
        label = int(values[0])
        if label != values[0] or label < 0 or (classes is not None and label >= len(classes)):
            count = "" if classes is None else f" and below {len(classes)}, as many as are named"
            raise InputError(f"{place}: the class must be a whole number from 0{count}, but is "
                             f"{words[0]}")  # fmt: skip
        if polygon:
            across, down = values[1::2], values[2::2]
            corners.append([min(across), min(down), max(across), max(down)])
        else:
            x, y, width, height = values[1:]
            corners.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        names.append(str(label) if classes is None else classes[label])
    return Annotation(str(path), _array(corners), tuple(names), shares=True)


def yolo_classes(folders: list[Path]) -> tuple[str, ...] | None:
    """The names in the first `data.yaml` or `classes.txt` of these folders; None: there is none."""
    for path in (folder / name for folder in folders for name in NAMES):
        if not path.is_file():
            continue
        if path.suffix in (".txt", ".names"):
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            return tuple(line.strip() for line in lines if line.strip())
        try:  # the keys of `names` may be numbers, which our own reader of YAML refuses
            content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"cannot read '{path}' ({reason}); correct it") from None
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, dict) and sorted(names) == list(range(len(names))):
            names = [names[number] for number in range(len(names))]
        if not isinstance(names, list):
            raise InputError(
                f"'{path}': names must list the classes, as `names: [cat, dog]`, but is {names!r}"
            )
        return tuple(map(str, names))
    return None


def _numbers(values: Any, count: int, what: str) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"{what} must be {count} numbers, but is {_shown(values)}")
    return numbers


def _shown(values: Any) -> str:
    return " ".join(map(str, values)) if isinstance(values, list) else repr(values)


def _array(corners: list[list[float]]) -> np.ndarray:
    return np.array(corners, dtype=np.float64).reshape(-1, 4)
