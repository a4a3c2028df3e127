"""Data sets by name, in torchvision's folders: found, or downloaded where the user allows it."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from experiments.data.cifar import read_cifar10, read_cifar100
from experiments.data.mnist import holds_idx, read_fashion_mnist, read_mnist
from experiments.data.split import UndividedData
from search_spaces.records import InputError


@dataclass(frozen=True)
class Published:
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
