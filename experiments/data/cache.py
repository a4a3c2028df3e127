"""Decoded images, and what is known of files: kept once per machine, memory-mapped from there."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from experiments.config.files import replace_file
from experiments.config.messages import warn
from experiments.config.schema import Fit
from experiments.data.listing import Listing

_FORMAT = 2  # to be raised when decoding changes: older cache files are then no longer found
_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """$SCALER_CACHE, else $XDG_CACHE_HOME/scaler, else ~/.cache/scaler."""
    if chosen := os.environ.get("SCALER_CACHE"):
        return Path(chosen).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "scaler"


def cache_key(listing: Listing, *, image_size: int | None, fit: Fit = "crop") -> str:
    """Changes with the folder's place, any file's name, size or time, the size or the fit."""
    files = [(file.relative, file.size, file.mtime_ns) for file in listing.files]
    content = json.dumps([_FORMAT, str(listing.root), image_size, fit, files])
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def cached_array(key: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """The array kept under `key`, memory-mapped and read-only; built and kept where absent.

    A damaged file is built anew. Where the cache folder cannot be used, what `build` returned is
    handed on from memory, with a warning.
    """
    path = cache_folder() / f"{key}.npy"
    images = _load(path)
    if images is not None:
        return images
    images = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: _write(file, images))
    except OSError as error:
        warn(
            f"cannot keep decoded images in '{path.parent}' ({error.strerror}): they will be "
            f"decoded again next time; set SCALER_CACHE to a folder that can be written"
        )
        return images
    kept = _load(path)
    return images if kept is None else kept


def _write(file: BinaryIO, images: np.ndarray) -> None:
    """An ordinary .npy file with a digest after its end, which numpy does not read."""
    np.save(file, images, allow_pickle=False)
    file.write(_digest(images))


def _load(path: Path) -> np.ndarray | None:
    """The images, or None where there is no file or its digest does not fit."""
    try:
        images: np.memmap = np.load(path, mmap_mode="r", allow_pickle=False)
        with open(path, "rb") as file:
            file.seek(images.offset + images.nbytes)
            if file.read(_DIGEST_BYTES + 1) == _digest(images):
                return images
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception:  # numpy parses the header of a damaged file in many ways
        pass
    warn(f"'{path}' is damaged: its images are decoded again")
    return None


def _digest(images: np.ndarray) -> bytes:
    digest = hashlib.sha256(repr((images.dtype.str, images.shape)).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.digest()
