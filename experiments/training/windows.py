"""Pieces of images: random ones to train on (`fit: patches`), and windows that cover the whole.

Where windows overlap, scores are averaged, with less weight near a window's edge.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.data.images import IGNORED
from experiments.training.augmentation import Preparation

OVERLAP = 0.25  # least share of a window's side that the next one covers too


def random_patches(
    images: Tensor, masks: Tensor, *, side: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A piece of `side` pixels of each uint8 image (N, C, S, S), and of its mask (N, S, S).

    It lies where the mask has classes, if there is room, and not on the black of `pad`. Images of
    `side` pixels or fewer are returned unchanged.
    """
    size = images.shape[-1]
    if size <= side:
        return images, masks
    known = masks != IGNORED
    top, left = (_begin(known.any(axis), side, generator) for axis in (2, 1))
    steps = torch.arange(side, device=images.device)
    rows, columns = top + steps, left + steps  # (N, side)
    number = torch.arange(len(images), device=images.device)[:, None, None]
    rows, columns = rows[:, :, None], columns[:, None, :]
    return images[number, :, rows, columns].movedim(-1, 1), masks[number, rows, columns]


def _begin(known: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """(N, 1): where pieces begin along an axis; `known` (N, S) is true where classes are."""
    count, size = known.shape
    first = known.int().argmax(1, keepdim=True).clamp(max=size - side)
    end = size - known.flip(1).int().argmax(1, keepdim=True)
    room = (end - side - first).clamp(min=0) + 1
    drawn = torch.rand((count, 1), generator=generator, device=known.device)
    return first + (drawn * room).long()


@torch.no_grad()
def pixel_scores(network: nn.Module, images: Tensor, prepare: Preparation) -> Tensor:
    """The scores that `network` gives for uint8 images (N, C, S, S): (N, K) or (N, K, R, R).

    With `prepare.patches` (N, K, S, S), from windows of `prepare.resolution`.
    """
    side, size = prepare.resolution, images.shape[-1]
    if not prepare.cuts(images):
        scores: Tensor = network(prepare(images))
        return scores
    whole = prepare.normalised(images)
    boxes = windows(size, size, side=side)
    sizes = {"width": size, "height": size, "side": side}
    return averaged(lambda box: network(crop(whole, box)), boxes, **sizes)


Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def windows(width: int, height: int, *, side: int) -> list[Box]:
    """Squares of `side` pixels that cover an image evenly and overlap, row by row."""
    across, down = _starts(width, side), _starts(height, side)
    return [(x, y, x + side, y + side) for y in down for x in across]


def crop(images: Tensor, box: Box) -> Tensor:
    """The part of (N, C, H, W) in the box."""
    left, top, right, bottom = box
    return images[:, :, top:bottom, left:right].contiguous()


def pieces(inputs: Tensor, *, side: int, first: int) -> Tensor:
    """One window of `side` pixels of each of (N, C, S, S), in turn of those that cover an image.

    `first` is the number of the first image: number i gives window i. Inputs of `side` pixels or
    fewer are returned unchanged.
    """
    size = inputs.shape[-1]
    if size <= side:
        return inputs
    boxes = windows(size, size, side=side)
    cuts = (crop(inputs[i : i + 1], boxes[(first + i) % len(boxes)]) for i in range(len(inputs)))
    return torch.cat(list(cuts))


def averaged(
    score: Callable[[Box], Tensor], boxes: Iterable[Box], *, width: int, height: int, side: int
) -> Tensor:
    """Scores (N, K, height, width) from `score` of each of the `windows` of `side` pixels."""
    weight = _fading(side)
    total = sums = torch.zeros(())
    for box in boxes:
        scores = resized(score(box), (side, side))
        if sums.ndim == 0:
            weight = weight.to(scores.device)
            total = weight.new_zeros(*scores.shape[:2], height, width)
            sums = weight.new_zeros(height, width)
        left, top, right, bottom = box
        total[:, :, top:bottom, left:right] += weight * scores
        sums[top:bottom, left:right] += weight
    return total / sums


def _starts(length: int, side: int) -> list[int]:
    """Where windows of `side` begin, so that they cover `length` evenly and overlap."""
    count = 1 + math.ceil((length - side) / (side * (1 - OVERLAP)))
    return [int(place) for place in np.linspace(0, length - side, count).round()]


def _fading(side: int) -> Tensor:
    """(side, side): 1 in the middle, near 0 at the edges, above 0 everywhere."""
    ramp = torch.minimum(torch.arange(side) + 0.5, side - torch.arange(side) - 0.5) / (side / 2)
    return ramp[:, None] * ramp


def resized(scores: Tensor, size: tuple[int, ...]) -> Tensor:
    """Scores (N, K, R, R) at another size, bilinear."""
    if tuple(scores.shape[2:]) == size:
        return scores
    return functional.interpolate(scores, size=size, mode="bilinear")
