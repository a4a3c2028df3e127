"""The class of each pixel of an image of any size: in windows that overlap, or the whole at once.

Where windows overlap scores are averaged, the less the nearer a window's edge is.
"""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from experiments.config.files import write_bytes
from experiments.config.messages import told_now_and_then
from experiments.export.folder import Exported
from experiments.export.model import Colour, Model, output_of
from experiments.export.segmenting import own_shape
from experiments.training.windows import averaged, crop, resized, windows

_TOLD = "predicted {} windows of an image"
_BLEND = 0.5  # of an overlay that is the mask's colour


def score_pixels(
    model: Exported | Model, image: Image.Image, *, window: int | None = None
) -> Tensor:
    """The scores (K, H, W) of an RGB image's pixels, on the network's device; see `predict`."""
    width, height = image.size
    fit = model.preprocessing.fit
    if fit == "patches":
        return _in_patches(model, image, window)
    if window is None and fit != "crop":
        return _whole(model, image)
    side = min(window or max(width, height), width, height)
    boxes = windows(width, height, side=side)
    if len(boxes) == 1:
        return resized(output_of(model, image), (side, side))[0]
    told = told_now_and_then(boxes, len(boxes), what=_TOLD)
    sizes = {"width": width, "height": height, "side": side}
    return averaged(lambda box: output_of(model, image.crop(box)), told, **sizes)[0]


@torch.no_grad()
def _in_patches(model: Exported | Model, image: Image.Image, window: int | None) -> Tensor:
    """The scores of an image in windows of the network's resolution, once it is resized.

    It becomes as large as the training's images were, or so large that `window` pixels of it are
    the resolution.
    """
    how, device = model.preprocessing, next(model.network.parameters()).device
    if window is not None:
        how = how.replace(image_size=max(how.size, round(max(image.size) * how.size / window)))
    inputs = how(image).to(device)
    size = inputs.shape[-1]
    boxes = windows(size, size, side=how.size)
    told = told_now_and_then(boxes, len(boxes), what=_TOLD)
    sizes = {"width": size, "height": size, "side": how.size}
    scores = averaged(lambda box: model.network(crop(inputs, box)), told, **sizes)
    return own_shape(scores, image.size, how.model_dump())


def _whole(model: Exported | Model, image: Image.Image) -> Tensor:
    """The scores of an image that is stretched, or padded to a square, back in its own shape."""
    return own_shape(output_of(model, image), image.size, model.preprocessing.model_dump())


def write_mask(
    folder: Path,
    name: Path,
    picture: Image.Image,
    mask: np.ndarray,
    palette: list[Colour],
) -> None:
    """masks/<name>.png with the classes' numbers, and overlays/<name>.png to look at."""
    index = Image.fromarray(mask).copy()
    index.putpalette([value for colour in palette for value in colour])
    blended = Image.blend(picture, index.convert("RGB"), _BLEND)
    for kind, image in (("masks", index), ("overlays", blended)):
        file = io.BytesIO()
        image.save(file, "PNG")
        write_bytes((folder / kind / name).with_suffix(".png"), file.getvalue())
