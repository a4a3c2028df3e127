"""From the `data` section of a configuration to images."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.config import DataConfig
from experiments.data.cache import cache_key, cached_images
from experiments.data.decoding import decode_files, default_size
from experiments.data.folder import FolderListing, list_folder
from experiments.data.images import ImageData, Split
from experiments.data.split import UndividedData, divide
from search_spaces.records import InputError


def load_data(config: DataConfig, *, seed: int) -> ImageData:
    """The data set that `config` names, divided with `seed` (see split.divide).

    Raises InputError for a source that is not there or cannot be trained on.
    """
    if config.source == "digits":
        source = read_digits(config.image_size)
    else:
        source = read_folder(find_folder(config.source), image_size=config.image_size)
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


def read_folder(folder: Path, *, image_size: int | None) -> UndividedData:
    """An image folder (see folder.list_folder), decoded or from the cache of decoded images."""
    listing = list_folder(folder)
    images = cached_images(
        cache_key(listing, image_size=image_size), lambda: _decode(listing, image_size)
    )
    splits, start = {}, 0
    for part, files in listing.parts.items():
        labels = np.array([file.label for file in files], dtype=np.int64)
        splits[part] = Split(images[start : start + len(files)], labels)
        start += len(files)
    return UndividedData(listing.root.name, listing.classes, **splits)


def _decode(listing: FolderListing, image_size: int | None) -> np.ndarray:
    # The training images alone decide the size: nothing is chosen by looking at the test part.
    return decode_files(
        listing.files, image_size=image_size or default_size(listing.parts["train"])
    )
