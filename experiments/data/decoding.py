"""Image files to square RGB arrays, with Pillow."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from experiments.config.units import readable_seconds
from experiments.data.images import FACTS, image_facts
from experiments.data.listing import ImageFile
from search_spaces.records import InputError

LARGEST_DEFAULT_SIZE = 224  # pixels; photographs of mixed sizes are not stored larger than this
_THREADED_BYTES = 20_000  # mean file size from which decoding (without the GIL) outweighs Python;
# on two cores 2 kB files took 1.5 times as long with two threads, 25 kB files 0.6 times
_PROGRESS_SECONDS = 10.0

_T = TypeVar("_T")


def decode_files(files: Sequence[ImageFile], *, image_size: int) -> np.ndarray:
    """All files as uint8 (N, 3, S, S). A damaged file is an InputError that names it."""
    images = np.empty((len(files), 3, image_size, image_size), dtype=np.uint8)
    for number, image in enumerate(_decoded(files, image_size)):
        images[number] = image
    return images


def survey_files(files: Sequence[ImageFile], *, image_size: int) -> np.ndarray:
    """FACTS of each file as it decodes, so that a stream breaks down before it starts, if ever.

    A damaged file is an InputError that names it.
    """
    facts = np.empty(len(files), dtype=FACTS)
    for number, image in enumerate(_decoded(files, image_size)):
        facts[number] = image_facts(image)
    return facts


def decode_file(path: str, *, image_size: int) -> np.ndarray:
    """One file as uint8 (3, S, S). A damaged file is an InputError that names it."""
    pixels = _read(path, lambda image: to_square(image, image_size))
    return pixels.transpose(2, 0, 1)  # (H, W, C) -> (C, H, W)


def _decoded(files: Sequence[ImageFile], image_size: int) -> Iterator[np.ndarray]:
    """Each file as uint8 (3, S, S), in order, with a line now and then where it takes long."""
    started = told = time.monotonic()
    images = _map(files, lambda path: decode_file(path, image_size=image_size))
    for done, image in enumerate(images, start=1):
        yield image
        if (now := time.monotonic()) - told > _PROGRESS_SECONDS:
            told = now
            left = (len(files) - done) * (now - started) / done
            line = f"data: decoded {done:,} of {len(files):,} images, {readable_seconds(left)} left"
            print(line, file=sys.stderr, flush=True)


def default_size(files: Sequence[ImageFile]) -> int:
    """The side of the images if all are the same square, else min(median shorter side, 224)."""
    sizes = np.array(list(_map(files, lambda path: _read(path, lambda image: image.size))))
    if (sizes == sizes[0, 0]).all():
        return int(sizes[0, 0])
    return max(1, min(int(np.median(sizes.min(axis=1))), LARGEST_DEFAULT_SIZE))


def to_square(image: Image.Image, size: int) -> np.ndarray:
    """The centre square of an image as RGB uint8 (size, size, 3), antialiased bilinear.

    Equal to resizing the shorter side and cropping the centre, without the pixels cut off.
    """
    image = to_rgb(ImageOps.exif_transpose(image))  # upright, as image viewers show it
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    return np.asarray(square)


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB, 8 bits: grey is repeated, transparency laid over white, of 16 bits the upper 8 kept.

    Raises ValueError for pixels of unknown range (floating point, more than 16 bits).
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("integer pixels of more than 16 bits have no known range")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _read(path: str, use: Callable[[Image.Image], _T]) -> _T:
    try:
        with Image.open(path) as image:
            return use(image)
    except Exception as error:  # Pillow raises anything from OSError to KeyError on a bad file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"cannot decode image '{Path(path)}' ({reason}); replace it or remove it"
        ) from None


def _map(files: Sequence[ImageFile], use: Callable[[str], _T]) -> Iterator[_T]:
    """`use` of each path, in order; in threads where the files are large enough to gain by it."""
    paths = [file.path for file in files]
    if sum(file.size for file in files) < _THREADED_BYTES * len(files):
        yield from map(use, paths)
        return
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 16)) as pool:
        try:
            yield from pool.map(use, paths)
        finally:
            pool.shutdown(cancel_futures=True)  # after a bad file, do not decode the rest first
