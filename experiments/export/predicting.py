"""What a trained network tells of images: the class of each, or the class of each pixel.

Images are prepared as the training's test part was. An image that a segmenter takes in windows is
covered by squares that overlap; where they do, scores are averaged, the less the nearer a window's
edge is.
"""

import io
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from experiments.config.files import write_bytes, write_text
from experiments.config.messages import say
from experiments.config.units import readable_seconds
from experiments.data.decoding import LARGEST_IMAGE, read_image, upright_rgb, upright_size
from experiments.data.layout import SUFFIXES, images_below
from experiments.export.folder import Exported, is_exported, load_exported
from experiments.export.model import Model, check_task, checkpoint_model, weights_in
from scaler.conditions import find_device
from search_spaces.records import InputError

TABLE = "predictions.csv"
OVERLAP = 0.25  # of a window's side, at least, that the next one covers too
_BLEND = 0.5  # of an overlay that is the mask's colour
_PROGRESS_SECONDS = 5.0
# Of classes whose data name no colours: hues of Okabe and Ito, then steps around the circle.
_COLOURS = (
    (0, 103, 179),
    (201, 106, 0),
    (0, 128, 92),
    (194, 51, 31),
    (160, 72, 155),
    (240, 228, 66),
)


def predict(
    network: str | Path,
    images: Sequence[str | Path],
    *,
    output: str | Path = "predictions",
    window: int | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """What `network` tells of `images`, files and folders; a row an image, written to `output`.

    `network` is a folder of `scaler export`, `train` or `run`, a checkpoint, or a member's file. A
    classifier's rows have the columns file, class, and the share of each class (softmax). A
    segmenter's have the share of the pixels that are of each class, and beside the table stand
    masks (the class's number at each pixel), overlays and classes.csv. `window` is the side of a
    segmenter's windows in pixels of the image; without it the image's shorter side, or all of the
    image where the training stretched or padded its images. Raises InputError.
    """
    model = trained_network(network)
    check_task(model.architecture, "classification", "segmentation", what="predict")
    segments = model.architecture.task == "segmentation"
    if window is not None and not segments:
        raise InputError(f"a window is for networks that score pixels, but '{network}' does not")
    files, folder = _listed(images), Path(output)
    _check_output(folder)
    place = find_device(device)
    model.network.to(place)
    names = model.classes or tuple(str(n) for n in range(model.num_classes))
    palette = _palette(model)

    def told(name: str, path: Path) -> list[object]:
        picture = read_image(str(path), upright_rgb, LARGEST_IMAGE)
        if not segments:
            shares = _scores(model, [picture]).softmax(1)[0].cpu().tolist()
            return [name, names[int(np.argmax(shares))], *shares]
        mask = score_pixels(model, picture, window=window).argmax(0).to(torch.uint8).cpu().numpy()
        _write_pictures(folder, Path(name), picture, mask, palette)
        return [name, *(np.bincount(mask.ravel(), minlength=len(names)) / mask.size).tolist()]

    rows = list(_with_progress(files, told))
    columns = ["file", *names] if segments else ["file", "class", *names]
    table = pd.DataFrame(rows, columns=columns)
    if segments:
        colours = [(n, *rgb) for n, rgb in zip(names, palette, strict=False)]
        classes = pd.DataFrame(colours, columns=["name", "r", "g", "b"])
        write_text(folder / "classes.csv", classes.to_csv(index=False))
    write_text(folder / TABLE, table.to_csv(index=False))
    return table


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


def score_pixels(
    model: Exported | Model, image: Image.Image, *, window: int | None = None
) -> Tensor:
    """The scores (K, H, W) of an RGB image's pixels, on the network's device; see `predict`."""
    width, height = image.size
    fit = model.preprocessing.fit
    if window is None and fit != "crop":
        return _whole(model, image)
    side = min(window or max(width, height), width, height)
    boxes = [(x, y) for y in _starts(height, side) for x in _starts(width, side)]
    if len(boxes) == 1:
        return _resized(_scores(model, [image]), (side, side))[0]
    weight = None
    total = sums = torch.zeros(())
    for x, y in boxes:
        part = image.crop((x, y, x + side, y + side))
        scores = _resized(_scores(model, [part]), (side, side))[0]
        if weight is None:
            weight = _fading(side).to(scores.device)
            total = torch.zeros(len(scores), height, width, device=scores.device)
            sums = torch.zeros(height, width, device=scores.device)
        total[:, y : y + side, x : x + side] += weight * scores
        sums[y : y + side, x : x + side] += weight
    return total / sums


def _starts(length: int, side: int) -> list[int]:
    """Where windows of `side` begin, so that they cover `length` evenly and overlap."""
    count = 1 + math.ceil((length - side) / (side * (1 - OVERLAP)))
    return [int(place) for place in np.linspace(0, length - side, count).round()]


def _fading(side: int) -> Tensor:
    """(side, side): 1 in the middle, near 0 at the edges, above 0 everywhere."""
    ramp = torch.minimum(torch.arange(side) + 0.5, side - torch.arange(side) - 0.5) / (side / 2)
    return ramp[:, None] * ramp


def _whole(model: Exported | Model, image: Image.Image) -> Tensor:
    """The scores of an image that is stretched, or padded to a square, back in its own shape."""
    width, height = image.size
    scores = _scores(model, [image])
    if model.preprocessing.fit == "pad":
        # As `fit_square` lays it: the image fills the square's middle.
        side, longest = scores.shape[-1], max(width, height)
        wide, tall = (max(1, round(length * side / longest)) for length in (width, height))
        left, top = (side - wide) // 2, (side - tall) // 2
        scores = scores[:, :, top : top + tall, left : left + wide]
    return _resized(scores, (height, width))[0]


def _resized(scores: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(scores.shape[2:]) == size:
        return scores
    return functional.interpolate(scores, size=size, mode="bilinear")


@torch.inference_mode()
def _scores(model: Exported | Model, images: list[Image.Image]) -> Tensor:
    """(N, K), or (N, K, size, size), on the network's device."""
    device = next(model.network.parameters()).device
    inputs = torch.cat([model.preprocessing(image) for image in images])
    scores: Tensor = model.network(inputs.to(device))
    return scores


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
        read_image(str(path), upright_size, LARGEST_IMAGE)
    return found


def _check_output(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"'{folder}' is a file; name a folder with --output")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / TABLE).is_file():
        raise InputError(
            f"'{folder}' is not empty and holds no {TABLE}; name a new folder with --output"
        )


def _with_progress(
    files: dict[str, Path], told: Callable[[str, Path], list[object]]
) -> Iterator[list[object]]:
    began = last = time.monotonic()
    for done, (name, path) in enumerate(files.items(), start=1):
        yield told(name, path)
        if (now := time.monotonic()) - last > _PROGRESS_SECONDS:
            last = now
            left = (len(files) - done) * (now - began) / done
            say(f"predicted {done:,} of {len(files):,} images, {readable_seconds(left)} left")


def _palette(model: Exported | Model) -> list[tuple[int, int, int]]:
    """A colour a class: those of the data, or else colours of our own."""
    if len(model.colours) == model.num_classes:
        return list(model.colours)
    from colorsys import hsv_to_rgb

    more = range(max(0, model.num_classes - len(_COLOURS)))
    turns = [hsv_to_rgb((n * 0.618) % 1, 0.6, 0.85) for n in more]  # far from each other
    made = [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in turns]
    return [*_COLOURS, *made][: model.num_classes]


def _write_pictures(
    folder: Path,
    name: Path,
    picture: Image.Image,
    mask: np.ndarray,
    palette: list[tuple[int, int, int]],
) -> None:
    """masks/<name>.png with the classes' numbers, and overlays/<name>.png to look at."""
    index = Image.fromarray(mask).copy()
    index.putpalette([value for colour in palette for value in colour])
    blended = Image.blend(picture, index.convert("RGB"), _BLEND)
    for kind, image in (("masks", index), ("overlays", blended)):
        file = io.BytesIO()
        image.save(file, "PNG")
        write_bytes((folder / kind / name).with_suffix(".png"), file.getvalue())
