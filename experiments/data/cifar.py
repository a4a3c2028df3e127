"""CIFAR-10 and CIFAR-100 as published: the binary version, or torchvision's, the Python version.

The Python version's files are pickles, which could run anything. They are read only where their
MD5 is that of the published file, and then by a reader that can build arrays and nothing else.
"""

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.images import Split
from experiments.data.split import UndividedData
from search_spaces.records import InputError

_PIXELS = 3 * 32 * 32
_ARRAYS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def read_cifar10(folder: Path) -> UndividedData:
    """`cifar-10-batches-bin` or `cifar-10-batches-py`."""
    if (folder / "data_batch_1.bin").is_file():
        classes = _names(folder / "batches.meta.txt")
        train = [folder / f"data_batch_{number}.bin" for number in range(1, 6)]
        return _from_binary("cifar10", classes, train, folder / "test_batch.bin", labels=1)
    from torchvision.datasets import CIFAR10

    return _from_pickles("cifar10", folder, CIFAR10, labels="labels")


def read_cifar100(folder: Path) -> UndividedData:
    """`cifar-100-binary` or `cifar-100-python`; the hundred fine classes."""
    if (folder / "train.bin").is_file():
        classes = _names(folder / "fine_label_names.txt")
        return _from_binary(
            "cifar100", classes, [folder / "train.bin"], folder / "test.bin", labels=2
        )
    from torchvision.datasets import CIFAR100

    return _from_pickles("cifar100", folder, CIFAR100, labels="fine_labels")


def _from_binary(
    name: str, classes: tuple[str, ...], train: list[Path], test: Path, *, labels: int
) -> UndividedData:
    """Rows of `labels` bytes, of which the last is the class, and 3,072 of pixels."""

    def split(files: list[Path]) -> Split:
        rows = []
        for file in files:
            content = np.frombuffer(_content(file), dtype=np.uint8)
            if not len(content) or len(content) % (labels + _PIXELS):
                raise InputError(
                    f"'{file}' has {len(content):,} bytes, which are no whole number of images of "
                    f"{labels + _PIXELS:,}; unpack the archive again"
                )
            rows.append(content.reshape(-1, labels + _PIXELS))
        whole = np.concatenate(rows)
        return _split(whole[:, labels:], whole[:, labels - 1], classes, files[0])

    return UndividedData(name, classes, split(train), test=split([test]))


def _from_pickles(name: str, folder: Path, published: Any, *, labels: str) -> UndividedData:
    """`published` is torchvision's class: which files there are, and their checksums."""
    meta = published.meta
    names = _unpickle(folder / meta["filename"], meta["md5"])[meta["key"]]
    classes = tuple(str(each) for each in names)

    def split(files: list[list[str]]) -> Split:
        batches = [_unpickle(folder / file, md5) for file, md5 in files]
        pixels = np.concatenate([batch["data"] for batch in batches])
        numbers = np.concatenate([batch[labels] for batch in batches])
        return _split(pixels, numbers, classes, folder / files[0][0])

    return UndividedData(
        name, classes, split(published.train_list), test=split(published.test_list)
    )


def _split(pixels: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], file: Path) -> Split:
    if len(labels) != len(pixels) or labels.max() >= len(classes):
        raise InputError(
            f"'{file}' and its like have {len(pixels)} images, {len(labels)} labels and labels up "
            f"to {labels.max()} of {len(classes)} classes; unpack the archive again"
        )
    return Split(np.ascontiguousarray(pixels).reshape(-1, 3, 32, 32), labels.astype(np.int64))


def _unpickle(file: Path, md5: str) -> dict[str, Any]:
    content = _content(file)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise InputError(
            f"'{file}' is not the published file (its MD5 differs), and a pickle of unknown origin "
            f"is not read; unpack the published archive again, or the binary version"
        )
    return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Arrays alone: an unpickled file could run any code."""
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return super().find_class(module, name)


def _names(file: Path) -> tuple[str, ...]:
    return tuple(_content(file).decode().split())


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read '{file}': {error.strerror}; unpack the whole archive there"
        ) from None
