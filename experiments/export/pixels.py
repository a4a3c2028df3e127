"""The class of each pixel of an image of any size: in windows that overlap, or the whole at once.

Where windows overlap scores are averaged, the less the nearer a window's edge is.
"""

import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from experiments.config.files import write_bytes
from experiments.config.messages import told_now_and_then
from experiments.data.fitting import padded_place
from experiments.export.folder import Exported
from experiments.export.model import Model, output_of, stored_side

OVERLAP = 0.25  # of a window's side, at least, that the next one covers too
_BLEND = 0.5  # of an overlay that is the mask's colour


def score_pixels(
    model: Exported | Model, image: Image.Image, *, window: int | None = None
) -> Tensor:
    """The scores (K, H, W) of an RGB image's pixels, on the network's device; see `predict`."""
    width, height = image.size
    fit = model.preprocessing.fit
    if window is None and fit != "crop":
        return _whole(model, image)
    side = min(window or max(width, height), width, height)
    corners = [(x, y) for y in _starts(height, side) for x in _starts(width, side)]
    if len(corners) == 1:
        return _resized(output_of(model, image), (side, side))[0]
    weight = None
    total = sums = torch.zeros(())
    for x, y in told_now_and_then(corners, len(corners), what="predicted {} windows of an image"):
        part = image.crop((x, y, x + side, y + side))
        scores = _resized(output_of(model, part), (side, side))[0]
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
    scores = output_of(model, image)
    how = model.preprocessing
    if how.fit == "pad":  # first as large as the square was, as in the training's own evaluation
        side = stored_side(image.size, image_size=how.image_size, fit=how.fit)
        left, top, wide, tall = padded_place(width, height, side)
        scores = _resized(scores, (side, side))[:, :, top : top + tall, left : left + wide]
    return _resized(scores, (height, width))[0]


def _resized(scores: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(scores.shape[2:]) == size:
        return scores
    return functional.interpolate(scores, size=size, mode="bilinear")


def write_mask(
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
