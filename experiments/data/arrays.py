"""Data sets that come as arrays, small enough to be held: scikit-learn's digits, those by name."""

import numpy as np
from PIL import Image

from experiments.config.schema import DataConfig
from experiments.data.images import Part, Split
from experiments.data.split import UndividedData
from search_spaces.records import InputError


def read_digits() -> UndividedData:
    """Scikit-learn's 1,797 grey images of digits, 8x8: 0..16 becomes 0..255, one channel."""
    from sklearn.datasets import load_digits  # a second to import, for this source alone

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # (N, H, W)
    train = Split(images[:, None], digits.target.astype(np.int64))  # (N, 1, H, W)
    return UndividedData("digits", tuple(str(name) for name in digits.target_names), train)


def at_size(source: UndividedData, config: DataConfig) -> UndividedData:
    """The arrays at the size asked for. InputError where they are to be streamed from files."""
    if config.placement == "stream":
        raise InputError(
            f"data.placement: stream reads image files, but '{source.name}' comes as arrays; "
            f"leave it out"
        )
    if config.image_size is None or config.image_size == source.train.shape[1]:
        return source
    parts = {"train": source.train, "validation": source.validation, "test": source.test}
    sized = {
        name: _resized(part, config.image_size) for name, part in parts.items() if part is not None
    }
    return UndividedData(source.name, source.classes, **sized)


def _resized(part: Part, size: int) -> Part:
    """(N, C, H, W) -> (N, C, S, S), antialiased bilinear, as image files are."""
    assert isinstance(part, Split)
    planes = part.images.reshape(-1, *part.shape[1:])
    bilinear = Image.Resampling.BILINEAR
    resized = [np.asarray(Image.fromarray(each).resize((size, size), bilinear)) for each in planes]
    return Split(np.stack(resized).reshape(len(part), -1, size, size), part.labels)
