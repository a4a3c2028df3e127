"""MNIST and Fashion-MNIST as published: IDX files, as they are or gzipped."""

import gzip
import sys
import zlib
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.data.cifar import read_cifar10, read_cifar100
from experiments.data.images import Split
from experiments.data.split import UndividedData
from search_spaces.records import InputError

_FIRST = "train-images-idx3-ubyte"


def read_mnist(folder: Path) -> UndividedData:
    """MNIST's two parts, from its IDX files."""
    return _read("mnist", folder, tuple(str(digit) for digit in range(10)))


def read_fashion_mnist(folder: Path) -> UndividedData:
    """Fashion-MNIST's two parts, from its IDX files."""
    from torchvision.datasets import FashionMNIST

    return _read("fashion_mnist", folder, tuple(FashionMNIST.classes))


def holds_idx(folder: Path) -> bool:
    """Whether the folder has IDX files, packed or not."""
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


def read_digits() -> UndividedData:
    """Scikit-learn's 1,797 grey images of digits, 8x8: 0..16 becomes 0..255, one channel."""
    from sklearn.datasets import load_digits  # a second to import, for this source alone

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # (N, H, W)
    train = Split(images[:, None], digits.target.astype(np.int64))  # (N, 1, H, W)
    return UndividedData("digits", tuple(str(name) for name in digits.target_names), train)


@dataclass(frozen=True)
class Published:
    """A published data set: where it lies, and how it is read."""

    torchvision: str  # its class there, which downloads
    folders: tuple[str, ...]  # below a root, the preferred first
    holds: Callable[[Path], bool]
    read: Callable[[Path], UndividedData]

    def find(self, roots: list[Path]) -> Path | None:
        """The first folder below one of `roots` that holds the set's files."""
        folders = (root / folder for root in roots for folder in self.folders)
        return next((folder for folder in folders if self.holds(folder)), None)

    def download(self, root: Path) -> None:
        """Below `root`, with progress on standard error. InputError where that does not work."""
        from torchvision import datasets

        try:
            root.mkdir(parents=True, exist_ok=True)
            with redirect_stdout(sys.stderr):
                getattr(datasets, self.torchvision)(root, download=True)
        except (OSError, RuntimeError) as error:  # URLError is an OSError
            raise InputError(
                f"cannot download {self.torchvision} to '{root}' ({error}); download it elsewhere "
                f"and put '{self.folders[-1]}' into the folder that SCALER_DATA names"
            ) from None


def _holds(*names: str) -> Callable[[Path], bool]:
    return lambda folder: any((folder / name).is_file() for name in names)


PUBLISHED = {
    "cifar10": Published(
        "CIFAR10",
        ("cifar-10-batches-bin", "cifar-10-batches-py"),
        _holds("data_batch_1.bin", "data_batch_1"),
        read_cifar10,
    ),
    "cifar100": Published(
        "CIFAR100",
        ("cifar-100-binary", "cifar-100-python"),
        _holds("train.bin", "train"),
        read_cifar100,
    ),
    "fashion_mnist": Published(
        "FashionMNIST", ("FashionMNIST/raw",), holds_idx, read_fashion_mnist
    ),
    "mnist": Published("MNIST", ("MNIST/raw",), holds_idx, read_mnist),
}
