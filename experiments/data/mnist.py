"""MNIST and Fashion-MNIST as published: IDX files, as they are or gzipped."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from experiments.data.images import Split
from experiments.data.split import UndividedData
from search_spaces.records import InputError

_FIRST = "train-images-idx3-ubyte"


def read_mnist(folder: Path) -> UndividedData:
    return _read("mnist", folder, tuple(str(digit) for digit in range(10)))


def read_fashion_mnist(folder: Path) -> UndividedData:
    from torchvision.datasets import FashionMNIST

    return _read("fashion_mnist", folder, tuple(FashionMNIST.classes))


def holds_idx(folder: Path) -> bool:
    return any((folder / f"{_FIRST}{suffix}").is_file() for suffix in ("", ".gz"))


def _read(name: str, folder: Path, classes: tuple[str, ...]) -> UndividedData:
    def split(part: str) -> Split:
        images = read_idx(folder / f"{part}-images-idx3-ubyte", dimensions=3)  # (N, H, W)
        labels = read_idx(folder / f"{part}-labels-idx1-ubyte", dimensions=1)
        if not len(images) or len(labels) != len(images) or labels.max() >= len(classes):
            highest = labels.max(initial=0)
            raise InputError(
                f"'{folder}' has {len(images)} images and {len(labels)} labels up to {highest} for "
                f"{part}; there must be as many, of {len(classes)} classes: unpack the files again"
            )
        return Split(images[:, None], labels.astype(np.int64))

    return UndividedData(name, classes, split("train"), test=split("t10k"))


def read_idx(file: Path, *, dimensions: int) -> np.ndarray:
    """An IDX file of bytes: 0, 0, 8, the number of dimensions, their big-endian sizes, the values.

    Format: http://yann.lecun.com/exdb/mnist. Raises InputError for any other content.
    """
    try:
        packed = file.with_name(f"{file.name}.gz")
        content = file.read_bytes() if file.is_file() else gzip.decompress(packed.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read '{file}' or '{file.name}.gz' ({error})") from None
    start = 4 + 4 * dimensions
    sizes = np.frombuffer(content[4:start], dtype=">u4").astype(np.int64)
    fits = content[:4] == bytes((0, 0, 8, dimensions)) and len(sizes) == dimensions
    if not fits or len(content) != start + sizes.prod():
        raise InputError(
            f"'{file}' is no IDX file of {dimensions} dimensions and as many bytes as it says; "
            f"unpack it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sizes)
