"""Labelled images: one part of a data set, in memory or as files, and the set with its parts."""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from experiments.config.schema import Fit
from experiments.data.boxes import Boxes

if TYPE_CHECKING:  # it loads torch, which a look at images need not wait for
    from search_spaces.heads import Task

IGNORED = 255  # of a mask's pixels: nothing is learnt from them, and nothing counted
CARD_SHARE = 0.5  # of a card's free memory that a part of the images may take
_CHUNK = 1024  # images at a time, so that counting pixels needs little memory

# What is known of an image once it was decoded: enough for a fingerprint and for statistics.
FACTS = np.dtype([("digest", "u1", (32,)), ("sum", "<i8", (3,)), ("squares", "<i8", (3,))])


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (N, C, H, W), 0 to 255, and their labels int64 (N,). May be memory-mapped."""

    images: np.ndarray
    labels: np.ndarray
    paths: tuple[str, ...] | None = None  # where they came from; does not travel to workers
    # uint8 (N, H, W), the class of each pixel, or IGNORED; `labels` are then the images' strata,
    # by which they are divided.
    masks: np.ndarray | None = None
    boxes: Boxes | None = None  # in pixels of the images; `labels` are the images' strata again

    def __post_init__(self) -> None:
        if self.masks is not None:
            expected = (len(self.images), *self.images.shape[2:])
            assert (self.masks.dtype.name, self.masks.shape) == ("uint8", expected)
        assert self.boxes is None or len(self.boxes) == len(self.images)
        assert (self.images.dtype.name, self.images.ndim) == ("uint8", 4)
        assert (self.labels.dtype.name, self.labels.shape) == ("int64", self.images.shape[:1])

    def __reduce__(self) -> tuple[type["Split"], tuple[Any, ...]]:
        # A memory map pickles as one string, which each process of a node would then hold for
        # itself; a plain view of it goes out of band, so that they share the node's one copy.
        masks = None if self.masks is None else np.asarray(self.masks)
        return Split, (np.asarray(self.images), np.asarray(self.labels), None, masks, self.boxes)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray | slice) -> "Split":
        """The images at these places."""
        masks = None if self.masks is None else self.masks[indices]
        boxes = None if self.boxes is None else self.boxes.take(indices)
        paths = _some(self.paths, indices)
        taken = Split(self.images[indices], self.labels[indices], paths, masks, boxes)
        if "digests" in self.__dict__:  # need not be counted again
            taken.__dict__["digests"] = self.digests[indices]
        return taken

    @property
    def task(self) -> "Task":
        """Segmentation where the images have masks, detection where they have boxes."""
        if self.masks is not None:
            return "segmentation"
        return "classification" if self.boxes is None else "detection"

    @property
    def targets(self) -> np.ndarray:
        """What is to be told of each image: its label, its mask, or its boxes as `Boxes.padded`."""
        if self.boxes is not None:
            return self.boxes.padded()
        return self.labels if self.masks is None else self.masks

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of each image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @cached_property
    def digests(self) -> np.ndarray:
        """SHA-256 of each image's pixels, uint8 (N, 32)."""
        digests = [
            hashlib.sha256(np.ascontiguousarray(image).data) for image in np.asarray(self.images)
        ]
        found = b"".join(digest.digest() for digest in digests)
        return np.frombuffer(found, dtype=np.uint8).reshape(len(self), 32)

    @cached_property
    def statistics(self) -> "ChannelStatistics":
        """Mean and deviation of each channel."""
        return channel_statistics(self.images)


@dataclass(frozen=True, eq=False)
class FileSplit:
    """Image files, each decoded when it is asked for: square, `image_size` pixels a side."""

    paths: tuple[str, ...]
    labels: np.ndarray  # int64 (N,)
    image_size: int
    facts: np.ndarray  # FACTS of each image at that size (N,)
    max_pixels: int  # of a file; larger ones are refused
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        assert len(self.paths) == len(self.labels) == len(self.facts)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray | slice) -> "FileSplit":
        """The files at these places."""
        paths = _some(self.paths, indices)
        assert paths is not None
        return replace(self, paths=paths, labels=self.labels[indices], facts=self.facts[indices])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of each image once it is decoded."""
        return 3, self.image_size, self.image_size

    @property
    def digests(self) -> np.ndarray:
        """SHA-256 of each image's pixels, uint8 (N, 32)."""
        return self.facts["digest"]

    @property
    def statistics(self) -> "ChannelStatistics":
        """Mean and deviation of each channel, from the sums noted with each file."""
        sums, squares = (self.facts[name].sum(axis=0) for name in ("sum", "squares"))
        return _statistics(len(self) * self.image_size**2, sums.tolist(), squares.tolist())


Part: TypeAlias = Split | FileSplit


def _some(paths: tuple[str, ...] | None, indices: np.ndarray | slice) -> tuple[str, ...] | None:
    if paths is None:
        return None
    return tuple(paths[number] for number in np.arange(len(paths))[indices])


def image_facts(image: np.ndarray) -> np.ndarray:
    """FACTS of one decoded image, uint8 (C, H, W)."""
    pixels = image.reshape(len(image), -1).astype(np.int64)
    digest = np.frombuffer(hashlib.sha256(np.ascontiguousarray(image).data).digest(), np.uint8)
    return np.array((digest, pixels.sum(axis=1), (pixels**2).sum(axis=1)), dtype=FACTS)


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
    train: Part
    validation: Part
    test: Part
    fingerprint: str  # see fingerprint()
    colours: tuple[tuple[int, int, int], ...] = ()  # of the classes, where masks are in colours
    patches: bool = False  # a network sees pieces of its own resolution (`fit: patches`)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def task(self) -> "Task":
        """Segmentation where the images have masks, detection where they have boxes."""
        return self.train.task if isinstance(self.train, Split) else "classification"

    def class_counts(self) -> np.ndarray:
        """How many of the training images, their pixels or boxes are of each class: int64 (K,)."""
        if isinstance(self.train, Split) and self.train.boxes is not None:
            return self.train.boxes.by_class(self.num_classes).sum(axis=0)
        targets = self.train.targets if isinstance(self.train, Split) else self.train.labels
        counts = np.zeros(256 if self.task == "segmentation" else self.num_classes, dtype=np.int64)
        for start in range(0, len(targets), _CHUNK):
            chunk = targets[start : start + _CHUNK].ravel()
            counts += np.bincount(chunk, minlength=len(counts))
        return counts[: self.num_classes]

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for coloured ones."""
        return self.train.shape[0]

    @property
    def image_size(self) -> int:
        """Pixels a side: the stored images are square."""
        return self.train.shape[1]

    @property
    def held_bytes(self) -> int:
        """Of the decoded images that are in memory. A training's device holds as much again, where
        they take at most CARD_SHARE of what is free there.
        """
        parts = (self.train, self.validation, self.test)
        held = [part for part in parts if isinstance(part, Split)]
        return sum(p.images.nbytes + (0 if p.masks is None else p.masks.nbytes) for p in held)

    @cached_property
    def statistics(self) -> ChannelStatistics:
        """Of the training images alone; counted in integers, so the same on every machine."""
        return self.train.statistics


def channel_statistics(images: np.ndarray) -> ChannelStatistics:
    """Per-channel mean and standard deviation of uint8 images (N, C, H, W)."""
    counts = np.zeros((images.shape[1], 256), dtype=np.int64)  # (C, value)
    for start in range(0, len(images), _CHUNK):
        for channel, row in enumerate(counts):
            pixels = images[start : start + _CHUNK, channel].ravel()
            row += np.bincount(pixels, minlength=256)
    values = np.arange(256)
    sums, squares = counts @ values, counts @ values**2
    return _statistics(int(counts[0].sum()), sums.tolist(), squares.tolist())


def _statistics(count: int, sums: list[int], squares: list[int]) -> ChannelStatistics:
    """From whole numbers of any size, so that images in memory and files give the same bits."""
    mean = tuple(total / (255 * count) for total in sums)
    spread = (count * square - total**2 for total, square in zip(sums, squares, strict=True))
    # A constant channel has no spread to divide by: one grey level stands in for it.
    std = tuple(max(math.sqrt(each) / count, 1) / 255 for each in spread)
    return ChannelStatistics(mean=mean, std=std)


def fingerprint(classes: tuple[str, ...], *parts: Part) -> str:
    """16 hex digits of SHA-256 over class names, images and labels, and how they are divided.

    The same for images in memory and for files that decode to them.
    """
    digest = hashlib.sha256(json.dumps(classes).encode())
    for part in parts:
        digest.update(repr((len(part), *part.shape)).encode())
        digest.update(np.ascontiguousarray(part.digests).data)
        if isinstance(part, Split) and part.masks is not None:
            digest.update(np.ascontiguousarray(part.masks).data)
            continue
        if isinstance(part, Split) and part.boxes is not None:
            digest.update(part.boxes.offsets.astype("<i8").data)
            digest.update(part.boxes.corners.astype("<f4").data)
            digest.update(part.boxes.classes.astype("<i8").data)
            continue
        digest.update(part.labels.astype("<i8").data)
    return digest.hexdigest()[:16]
