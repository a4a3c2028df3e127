"""From the `data` section of a configuration to images."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.config import DataConfig
from experiments.data.cache import cache_key, cached_array
from experiments.data.decoding import decode_files, default_size, survey_files
from experiments.data.folder import FolderListing, list_folder
from experiments.data.images import FileSplit, ImageData, Split
from experiments.data.placement import streams
from experiments.data.split import UndividedData, divide
from search_spaces.records import InputError


def load_data(config: DataConfig, *, seed: int) -> ImageData:
    """The data set that `config` names, divided with `seed` (see split.divide).

    Raises InputError for a source that is not there or cannot be trained on.
    """
    if config.source == "digits":
        source = read_digits(config.image_size)
    else:
        source = read_files(list_folder(find_folder(config.source)), config)
    return divide(source, config, seed=seed)


def find_folder(source: str) -> Path:
    """The folder as given, or else of that name under $SCALER_DATA."""
    given = Path(source).expanduser()
    home = os.environ.get("SCALER_DATA")
    below = Path(home).expanduser() / source if home else None
    for folder in (given, below):
        if folder is not None and folder.is_dir():
            return folder
    elsewhere = f"nor at '{below}' ($SCALER_DATA)" if below else "and SCALER_DATA is not set"
    raise InputError(
        f"no data '{source}': there is no folder at '{given.absolute()}', {elsewhere}; give "
        f"`digits`, the path of an image folder, or set SCALER_DATA to the folder that holds it"
    )


def read_digits(image_size: int | None) -> UndividedData:
    """Scikit-learn's 1,797 grey images of digits, 8x8: 0..16 becomes 0..255, one channel."""
    from sklearn.datasets import load_digits  # a second to import, for this source alone

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # (N, H, W)
    if image_size is not None and image_size != images.shape[1]:
        size = (image_size, image_size)
        images = np.stack(
            [
                np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
                for image in images
            ]
        )
    train = Split(images[:, None], digits.target.astype(np.int64))  # (N, 1, H, W)
    return UndividedData("digits", tuple(str(name) for name in digits.target_names), train)


def read_files(listing: FolderListing, config: DataConfig) -> UndividedData:
    """Listed image files: decoded or from the cache of decoded images, or as files to stream."""
    image_size = config.image_size or _default_size(listing)
    place = streams(config.placement, images=len(listing.files), image_size=image_size)
    read = _stream_files if place else _hold_files
    parts, start = {}, 0
    whole = read(listing, image_size=image_size)
    for part, files in listing.parts.items():
        parts[part] = whole.take(slice(start, start + len(files)))
        start += len(files)
    return UndividedData(listing.name, listing.classes, **parts)


def _hold_files(listing: FolderListing, *, image_size: int) -> Split:
    images = cached_array(
        cache_key(listing, image_size=image_size),
        lambda: decode_files(listing.files, image_size=image_size),
    )
    return Split(images, listing.labels)


def _stream_files(listing: FolderListing, *, image_size: int) -> FileSplit:
    facts = cached_array(
        cache_key(listing, image_size=image_size) + "-facts",
        lambda: survey_files(listing.files, image_size=image_size),
    )
    paths = tuple(file.path for file in listing.files)
    return FileSplit(paths, listing.labels, image_size, facts)


def _default_size(listing: FolderListing) -> int:
    # The training images alone decide the size: nothing is chosen by looking at the test part.
    key = cache_key(listing, image_size=None) + "-size"
    (size,) = cached_array(key, lambda: np.array([default_size(listing.parts["train"])]))
    return int(size)
