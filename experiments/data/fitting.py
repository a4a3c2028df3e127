"""Where an image of any shape comes to lie in a square: its pixels, and boxes in it."""

from typing import Any

import numpy as np
from PIL import Image

from experiments.config.schema import Fit

# Pillow's number of the filter: `scaler show --code` prints `fit_square`, which imports nothing.
BILINEAR = 2


def fit_square(image: Any, size: int, *, fit: Fit, resample: int = BILINEAR) -> Any:
    """A Pillow image as `size` x `size` pixels, antialiased bilinear unless
    another `resample` of Pillow's is given.

    `crop` takes the centre square, `stretch` the whole image whatever its shape, and `pad` and
    `patches` the whole image in its shape, with black at both sides. Cropping is
    equal to resizing the shorter side and cutting out the centre, without the pixels that are cut
    off.
    """
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return image.resize((size, size), resample, box=(left, top, left + side, top + side))
    if fit == "stretch" or width == height:
        return image.resize((size, size), resample)
    left, top, wide, tall = padded_place(width, height, size)
    inner = image.resize((wide, tall), resample)
    return inner.crop((-left, -top, size - left, size - top))  # beyond the edges is black


def padded_place(width: int, height: int, size: int) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels of an image in the square that `pad` makes of it."""
    longest = max(width, height)
    wide, tall = (max(1, round(length * size / longest)) for length in (width, height))
    return (size - wide) // 2, (size - tall) // 2, wide, tall


def fit_arrays(images: np.ndarray, size: int, *, fit: Fit) -> np.ndarray:
    """uint8 (N, C, H, W) as (N, C, size, size), each plane as `fit_square` makes it."""
    if images.shape[2:] == (size, size):
        return images
    planes = images.reshape(-1, *images.shape[2:])
    squares = [np.asarray(fit_square(Image.fromarray(each), size, fit=fit)) for each in planes]
    return np.stack(squares).reshape(*images.shape[:2], size, size)


def fit_boxes(corners: np.ndarray, *, width: int, height: int, size: int, fit: Fit) -> np.ndarray:
    """Boxes (m, 4) of an image of `width` x `height` px where `fit_square` puts them; not yet cut.

    The square has `size` pixels a side.
    """
    scale, shift = _laid(width, height, size, fit)
    return corners * scale + shift


def unfit_boxes(corners: np.ndarray, *, width: int, height: int, size: int, fit: Fit) -> np.ndarray:
    """Boxes (m, 4) of the square in the pixels of its image: `fit_boxes` turned round."""
    scale, shift = _laid(width, height, size, fit)
    return (corners - shift) / scale


def _laid(width: int, height: int, size: int, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """What the image's x, y, x, y are times, and what is then added, (4,) each."""
    left, top, wide, tall = 0.0, 0.0, float(size), float(size)
    if fit == "crop":  # the whole image, of which parts lie beyond the square
        side = min(width, height)
        factor = size / side
        wide, tall = width * factor, height * factor
        left, top = -((width - side) // 2) * factor, -((height - side) // 2) * factor
    elif fit == "pad":
        left, top, wide, tall = padded_place(width, height, size)
    return np.tile([wide / width, tall / height], 2), np.tile([left, top], 2)
