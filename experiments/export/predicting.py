"""What a trained network tells of images: the class of each, that of each pixel, or boxes.

Images are prepared as the training's test part was.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from experiments.config.files import write_text
from experiments.config.messages import say, told_now_and_then
from experiments.data.decoding import read_image, upright_rgb, upright_size
from experiments.data.layout import SUFFIXES, images_below
from experiments.export.boxes import find_boxes, write_boxes
from experiments.export.folder import Exported, is_exported, load_exported
from experiments.export.model import (
    Colour,
    Model,
    checkpoint_model,
    class_colours,
    output_of,
    weights_in,
)
from experiments.export.pixels import score_pixels, write_mask
from experiments.training.detection import SURE
from scaler.conditions import find_device
from search_spaces.heads.fpn import PyramidHead
from search_spaces.records import InputError

TABLE = "predictions.csv"
BOXES = ("class", "score", "x1", "y1", "x2", "y2")  # columns of a detector's table, behind `file`
_DIGITS = 4  # behind the point, of scores and pixels in that table


def predict(
    network: str | Path,
    images: Sequence[str | Path],
    *,
    output: str | Path = "predictions",
    window: int | None = None,
    score: float | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """What `network` tells of `images`, files and folders: a table, which is written to `output`.

    `network` is a folder of `scaler export`, `train` or `run`, a checkpoint, or a member's file. A
    classifier's table has a row an image: file, class, and the share of each class (softmax). A
    segmenter's row has the share of the pixels that are of each class, and beside the table stand
    masks (the class's number at each pixel), overlays and classes.csv. `window` is the side of
    windows in pixels of the image. Without it a segmenter's is the image's shorter side, or all of
    the image where the training stretched or padded its images; a detector sees the image as a
    whole, as in training.

    A detector's table has a row a box: file, class, score, x1, y1, x2, y2 in pixels of the image as
    viewers show it, the surest of an image first; beside it stand overlays. Boxes with a score
    below `score` are left out; by default that of the best F1 on the training's validation part, or
    SURE where none is known. Raises InputError.
    """
    model = trained_network(network)
    task = model.architecture.task
    if window is not None and task == "classification":
        raise InputError(
            f"a window is for networks that score pixels or find boxes, but '{network}' classifies"
        )
    if score is not None and task != "detection":
        raise InputError(f"a score is for networks that find boxes, but '{network}' does not")
    if score is not None and not 0 <= score <= 1:
        raise InputError(f"score must be a number from 0 to 1, but is {score:g}")
    files, folder = _listed(images), Path(output)
    _check_output(folder)
    model.network.to(find_device(device))
    names = model.classes or tuple(str(n) for n in range(model.num_classes))
    palette = class_colours(model.colours, model.num_classes)
    columns: tuple[str, ...] = ("class", *names)
    tell: _Tell = partial(_class, model, names)
    if task == "segmentation":
        columns, tell = names, partial(_pixels, model, folder, palette, window)
    elif task == "detection":
        columns = BOXES
        tell = partial(_boxes, model, folder, names, palette, window, _sure(model, score, window))
    rows: list[list[object]] = []
    for name in told_now_and_then(files, len(files), what="predicted {} images"):
        picture = read_image(str(files[name]), upright_rgb)
        rows += [[name, *row] for row in tell(Path(name), picture)]
    table = pd.DataFrame(rows, columns=["file", *columns])
    if task == "segmentation":
        colours = [(n, *rgb) for n, rgb in zip(names, palette, strict=False)]
        classes = pd.DataFrame(colours, columns=["name", "r", "g", "b"])
        write_text(folder / "classes.csv", classes.to_csv(index=False))
    write_text(folder / TABLE, table.to_csv(index=False))
    if task == "detection":
        more = "" if len(table) else "; a lower --score tells those that are less sure"
        say(f"{len(table):,} boxes in {table['file'].nunique():,} of {len(files):,} images{more}")
    return table


_Tell = Callable[[Path, Image.Image], list[list[object]]]  # name, picture -> rows without the name


def _class(
    model: Exported | Model, names: tuple[str, ...], _: Path, picture: Image.Image
) -> list[list[object]]:
    shares = output_of(model, picture).softmax(1)[0].cpu().tolist()
    return [[names[int(np.argmax(shares))], *shares]]


def _pixels(
    model: Exported | Model,
    folder: Path,
    palette: list[Colour],
    window: int | None,
    name: Path,
    picture: Image.Image,
) -> list[list[object]]:
    mask = score_pixels(model, picture, window=window).argmax(0).to(torch.uint8).cpu().numpy()
    write_mask(folder, name, picture, mask, palette)
    return [(np.bincount(mask.ravel(), minlength=model.num_classes) / mask.size).tolist()]


def _boxes(
    model: Exported | Model,
    folder: Path,
    names: tuple[str, ...],
    palette: list[Colour],
    window: int | None,
    score: float,
    name: Path,
    picture: Image.Image,
) -> list[list[object]]:
    found = find_boxes(model, picture, window=window).sure(score)
    overlay = (folder / "overlays" / name).with_suffix(".png")
    write_boxes(overlay, picture, found, names=names, palette=palette)
    figures = np.column_stack([found.scores, found.corners]).round(_DIGITS).tolist()
    return [[names[n], *row] for n, row in zip(found.classes, figures, strict=True)]


def _sure(model: Exported | Model, score: float | None, window: int | None) -> float:
    """The least score of boxes that are told, said aloud where it was not given."""
    head = model.architecture.head
    assert isinstance(head, PyramidHead)
    least = head.boxes.score_threshold
    known = SURE if model.score is None else model.score
    if score is None:
        why = "" if model.score is None else ", the best F1 on the training's validation part"
        say(f"boxes with a score of {known:g} or more{why}; --score sets another, and 0 tells all")
    elif score < least:
        say(f"boxes with a score of {least:g} or less are left out by the network's own head")
    if model.preprocessing.fit == "crop" and window is None:
        say("of each image the centre square is looked at, as the training did (fit: crop)")
    return known if score is None else score


def trained_network(place: str | Path) -> Exported | Model:
    """The network with its weights that a folder, a checkpoint or a member's file stands for.

    Raises InputError where there are none.
    """
    path = Path(place)
    if path.suffix == ".safetensors":
        return checkpoint_model(path)
    if path.suffix == ".yaml" and path.parent.name == "family":
        weights = path.parents[1] / "checkpoints" / path.stem / "weights.safetensors"
        if weights.is_file():
            return checkpoint_model(weights)
    if path.is_dir():
        if is_exported(path):
            return load_exported(path)
        weights = path / "weights.safetensors"
        return checkpoint_model(weights if weights.is_file() else weights_in(path))
    raise InputError(
        f"'{place}' has no trained weights; name a folder of `scaler train`, `run` or `export`, or "
        f"a checkpoint (.safetensors)"
    )


def _listed(given: Sequence[str | Path]) -> dict[str, Path]:
    """{name: file}, the name below the folder that was given; InputError for what is no image."""
    found: dict[str, Path] = {}
    for place in map(Path, given):
        if place.is_dir():
            below = sorted(Path(entry.path) for entry in images_below(place))
            if not below:
                raise InputError(f"'{place}' holds no images ({', '.join(SUFFIXES)}); put some in")
            named = {os.path.relpath(path, place): path for path in below}
        elif place.is_file():
            named = {place.name: place}
        else:
            raise InputError(f"no image '{place}': there is no such file or folder")
        stems = {os.path.splitext(name)[0]: path for name, path in found.items()}
        for name, path in named.items():
            stem = os.path.splitext(name)[0]
            if stem in stems:
                raise InputError(
                    f"'{stems[stem]}' and '{path}' have one name; predict them one by one, with "
                    f"another --output each"
                )
            stems[stem] = path
        found |= named
    for path in found.values():  # the header, before anything is written
        read_image(str(path), upright_size)
    return found


def _check_output(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"'{folder}' is a file; name a folder with --output")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / TABLE).is_file():
        raise InputError(
            f"'{folder}' is not empty and holds no {TABLE}; name a new folder with --output"
        )
