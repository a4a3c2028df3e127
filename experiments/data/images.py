"""Labelled images in memory: one part of a data set, and the data set with its three parts."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_CHUNK = 1024  # images at a time, so that counting pixels needs little memory


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (N, C, H, W), 0 to 255, and their labels int64 (N,). May be memory-mapped."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        assert (self.images.dtype.name, self.images.ndim) == ("uint8", 4)
        assert (self.labels.dtype.name, self.labels.shape) == ("int64", self.images.shape[:1])

    def __reduce__(self) -> tuple[type["Split"], tuple[np.ndarray, np.ndarray]]:
        # A memory map pickles as one string, which each process of a node would then hold for
        # itself; a plain view of it goes out of band, so that they share the node's one copy.
        return Split, (np.asarray(self.images), np.asarray(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Split":
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel, in units of the full range (0 to 1)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set ready to train on. Choices are made on `validation`; `test` is for the end."""

    name: str
    classes: tuple[str, ...]  # the label is the index
    train: Split
    validation: Split
    test: Split
    fingerprint: str  # see fingerprint()

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def channels(self) -> int:
        return int(self.train.images.shape[1])

    @property
    def image_size(self) -> int:
        """Pixels a side: the stored images are square."""
        return int(self.train.images.shape[2])

    @cached_property
    def statistics(self) -> ChannelStatistics:
        """Of the training images alone; counted in integers, so the same on every machine."""
        return channel_statistics(self.train.images)


def channel_statistics(images: np.ndarray) -> ChannelStatistics:
    """Per-channel mean and standard deviation of uint8 images (N, C, H, W)."""
    counts = np.zeros((images.shape[1], 256), dtype=np.int64)  # (C, value)
    for start in range(0, len(images), _CHUNK):
        for channel, row in enumerate(counts):
            pixels = images[start : start + _CHUNK, channel].ravel()
            row += np.bincount(pixels, minlength=256)
    values = np.arange(256) / 255
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    variance = (share * (values - mean[:, None]) ** 2).sum(axis=1)
    # A constant channel has no spread to divide by: one grey level stands in for it.
    std = np.maximum(np.sqrt(variance), 1 / 255)
    return ChannelStatistics(mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def fingerprint(classes: tuple[str, ...], *splits: Split) -> str:
    """16 hex digits of SHA-256 over class names, images and labels, and how they are divided."""
    digest = hashlib.sha256(json.dumps(classes).encode())
    for split in splits:
        digest.update(repr(split.images.shape).encode())
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(split.labels.astype("<i8").data)
    return digest.hexdigest()[:16]
