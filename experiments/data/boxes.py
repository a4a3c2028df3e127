"""Boxes of images, each with a class: any number to an image, in pixels from its upper left."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

LEAST = 0.1  # of a box's area that must be left of it where its image is cut, or it is dropped
NO_BOX = -1  # the class of the rows that fill up `padded`


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of N images, one after the other: those of i are offsets[i]:offsets[i + 1]."""

    offsets: np.ndarray  # int64 (N + 1,)
    corners: np.ndarray  # float32 (M, 4): left, top, right, bottom
    classes: np.ndarray  # int64 (M,)

    def __post_init__(self) -> None:
        assert (self.offsets.dtype.name, self.classes.dtype.name) == ("int64", "int64")
        assert (self.corners.dtype.name, self.corners.shape) == ("float32", (len(self.classes), 4))
        assert self.offsets[0] == 0
        assert self.offsets[-1] == len(self.classes)

    @classmethod
    def of(cls, corners: list[np.ndarray], classes: list[np.ndarray]) -> Self:
        """From each image's own corners (n, 4) and classes (n,)."""
        counts = [len(own) for own in classes]
        return cls(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.concatenate([np.zeros((0, 4)), *corners]).astype(np.float32),
            np.concatenate([np.zeros(0), *classes]).astype(np.int64),
        )

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> np.ndarray:
        """How many boxes each image has, int64 (N,)."""
        return np.diff(self.offsets)

    def take(self, indices: np.ndarray | slice) -> "Boxes":
        """Those of the images at these places."""
        chosen = np.arange(len(self))[indices]
        own = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in chosen]
        return Boxes.of([self.corners[each] for each in own], [self.classes[each] for each in own])

    def by_class(self, classes: int) -> np.ndarray:
        """How many of each class each image has, int64 (N, classes)."""
        images = np.repeat(np.arange(len(self)), self.counts)
        cells = np.bincount(images * classes + self.classes, minlength=len(self) * classes)
        return cells.reshape(len(self), classes)

    def padded(self) -> np.ndarray:
        """float32 (N, P, 5), corners and class, filled up with rows of class NO_BOX.

        P is the most boxes of an image, at least 1.
        """
        counts = self.counts
        rows = np.zeros((len(self), max(1, int(counts.max(initial=0))), 5), dtype=np.float32)
        rows[:, :, 4] = NO_BOX
        there = np.arange(rows.shape[1]) < counts[:, None]
        rows[there] = np.column_stack([self.corners, self.classes]).astype(np.float32)
        return rows


class Cut(NamedTuple):
    """Boxes within an image, and which of those that there were they are."""

    corners: np.ndarray  # float64 (n, 4)
    kept: np.ndarray  # bool (m,)


def clip(corners: np.ndarray, *, width: float, height: float, least: float = 0.0) -> Cut:
    """Boxes (m, 4) clipped to an image; dropped where at most `least` of the area is left."""
    clipped = corners.clip(0, [width, height, width, height])
    kept = area(clipped) > least * area(corners)
    return Cut(clipped[kept], kept)


def area(corners: np.ndarray) -> np.ndarray:
    """Of boxes (..., 4), in square pixels; 0 where left is not left of right."""
    return np.prod((corners[..., 2:] - corners[..., :2]).clip(min=0), axis=-1)
