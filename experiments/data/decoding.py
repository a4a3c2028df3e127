"""Image files to square RGB arrays, with Pillow; the arrays are kept once per machine."""

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps

from experiments.config.files import replace_file
from experiments.config.messages import told_now_and_then, warn
from experiments.config.schema import Fit
from experiments.data.fitting import fit_square
from experiments.data.images import FACTS, image_facts
from experiments.data.listing import ImageFile, Listing
from search_spaces.records import InputError

LARGEST_IMAGE = 178_956_970  # pixels; above it Pillow suspects a file made to fill the memory
LARGEST_DEFAULT_SIZE = 224  # pixels; photographs of mixed sizes are not stored larger than this
_THREADED_BYTES = 20_000  # mean file size from which decoding (without the GIL) outweighs Python;
# on two cores 2 kB files took 1.5 times as long with two threads, 25 kB files 0.6 times
_FORMAT = 2  # to be raised when decoding changes: older cache files are then no longer found
_PNG = b"\x89PNG\r\n\x1a\n"  # the first bytes
_TURNS = (b"Raw profile type exif", b"XML:com.adobe.xmp")  # texts of a PNG with an orientation
_DIGEST_BYTES = hashlib.sha256().digest_size

_T = TypeVar("_T")


def decode_files(
    files: Sequence[ImageFile],
    *,
    image_size: int,
    fit: Fit = "crop",
    max_pixels: int = LARGEST_IMAGE,
) -> np.ndarray:
    """All files as uint8 (N, 3, S, S). A damaged or too large file is an InputError."""
    images = np.empty((len(files), 3, image_size, image_size), dtype=np.uint8)
    for number, image in enumerate(_decoded(files, image_size, fit, max_pixels)):
        images[number] = image
    return images


def survey_files(
    files: Sequence[ImageFile],
    *,
    image_size: int,
    fit: Fit = "crop",
    max_pixels: int = LARGEST_IMAGE,
) -> np.ndarray:
    """FACTS of each file as it decodes, so that a stream breaks down before it starts, if ever.

    A damaged file is an InputError that names it.
    """
    facts = np.empty(len(files), dtype=FACTS)
    for number, image in enumerate(_decoded(files, image_size, fit, max_pixels)):
        facts[number] = image_facts(image)
    return facts


def decode_file(
    path: str, *, image_size: int, fit: Fit = "crop", max_pixels: int = LARGEST_IMAGE
) -> np.ndarray:
    """One file as uint8 (3, S, S). A damaged or too large file is an InputError that names it."""
    pixels = read_image(path, lambda image: to_square(image, image_size, fit=fit), max_pixels)
    return pixels.transpose(2, 0, 1)  # (H, W, C) -> (C, H, W)


def _decoded(
    files: Sequence[ImageFile], image_size: int, fit: Fit, max_pixels: int
) -> Iterator[np.ndarray]:
    """Each file as uint8 (3, S, S), in order."""
    return read_each(
        files,
        lambda path: decode_file(path, image_size=image_size, fit=fit, max_pixels=max_pixels),
        what="data: decoded {} images",
    )


def read_each(files: Sequence[ImageFile], use: Callable[[str], _T], *, what: str) -> Iterator[_T]:
    """`use` of each path, in order, in threads where that pays; see `told_now_and_then`."""
    return told_now_and_then(_map(files, use), len(files), what=what)


def default_size(files: Sequence[ImageFile], *, max_pixels: int = LARGEST_IMAGE) -> int:
    """The side of the images if all are the same square, else min(median shorter side, 224)."""
    found = _map(files, lambda path: read_image(path, lambda image: image.size, max_pixels))
    sizes = np.array(list(found))
    if (sizes == sizes[0, 0]).all():
        return int(sizes[0, 0])
    return max(1, min(int(np.median(sizes.min(axis=1))), LARGEST_DEFAULT_SIZE))


def read_sizes(files: Sequence[ImageFile], *, max_pixels: int) -> Iterator[tuple[int, int]]:
    """(width, height) of each file as image viewers show it, in order; nothing is decoded."""
    return _map(files, lambda path: read_image(path, upright_size, max_pixels))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of an opened image as image viewers show it; its pixels are not decoded."""
    # Pillow decodes a PNG for notes that may stand behind the pixels; almost none has such.
    late = image.format == "PNG" and _notes_behind_pixels(image)
    exif = image.getexif() if late or image.format != "PNG" else Image.Image.getexif(image)
    lies = exif.get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return image.size[::-1] if lies else image.size


def _notes_behind_pixels(image: Image.Image) -> bool:
    """Whether the file of a PNG may say behind its pixels how it is to be turned."""
    file: Any = image.fp  # type: ignore[attr-defined]
    place, behind = file.tell(), False
    file.seek(len(_PNG))
    try:
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            begins = file.read(min(length, 32))
            behind = behind or kind == b"IDAT"
            if behind and (kind == b"eXIf" or begins.startswith(_TURNS)):
                return True
            file.seek(length - len(begins) + 4, os.SEEK_CUR)
    finally:
        file.seek(place)
    return False


def to_square(image: Image.Image, size: int, *, fit: Fit = "crop") -> np.ndarray:
    """An image, upright as image viewers show it, as RGB uint8 (size, size, 3)."""
    return np.asarray(fit_square(upright_rgb(image), size, fit=fit))


def upright_rgb(image: Image.Image) -> Image.Image:
    """An image as RGB, turned as image viewers show it."""
    _scale_transparency(image)
    return to_rgb(ImageOps.exif_transpose(image))


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
        grey = (values >> 8).astype(np.uint8)
        grey[values == image.info.get("transparency", -1)] = 0xFF  # over white
        image = Image.fromarray(grey)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def read_image(path: str, use: Callable[[Image.Image], _T], max_pixels: int | None = None) -> _T:
    """`use` of the opened file. A damaged or too large one is an InputError that names it.

    `max_pixels` are those of the config; without one LARGEST_IMAGE holds.
    """
    most = max_pixels or LARGEST_IMAGE
    if most > LARGEST_IMAGE:  # Pillow has one limit a process; the user's may be higher
        Image.MAX_IMAGE_PIXELS = most
    try:
        with Image.open(path) as image:
            if image.width * image.height > most:
                raise Image.DecompressionBombError
            return use(image)
    except Image.DecompressionBombError:
        way = "or raise `data.max_pixels` in the config" if max_pixels else "or cut it into several"
        raise InputError(
            f"image '{Path(path)}' has more than {most:,} pixels; shrink it, {way}"
        ) from None
    except Exception as error:  # Pillow raises anything from OSError to KeyError on a bad file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"cannot decode image '{Path(path)}' ({reason}); replace it or remove it"
        ) from None


def _scale_transparency(image: Image.Image) -> None:
    """A PNG's transparent colour, in the 8 bits that its pixels are decoded to.

    Pillow leaves it in the bits of the file, where it equals no decoded pixel.
    """
    colour, tile = image.info.get("transparency"), getattr(image, "tile", None)
    if image.format != "PNG" or colour is None or not tile:
        return
    if tile[0].args == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in colour)
    elif tile[0].args in ("L;2", "L;4"):
        image.info["transparency"] = colour * (0xFF // 3 if tile[0].args == "L;2" else 0xFF // 15)


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
