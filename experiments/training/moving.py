"""Boxes of a batch: moved with their images, dropped if little of them is left, and in the form
that a detector takes.

A batch's boxes are float32 (N, P, 5) on the images' device: corners in pixels, and the class, which
is NO_BOX in the rows of padding (see `Boxes.padded`).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from experiments.config.recipe import Augmentation
from experiments.data.boxes import LEAST, NO_BOX
from search_spaces.records import InputError


class Moves(NamedTuple):
    """How each image of a batch was moved and flipped: pixels, int64 (N, 1); all may be 0.

    Each pixel moves by `down` and `right`; then the image is mirrored if `mirrored`.
    """

    down: Tensor
    right: Tensor
    mirrored: Tensor  # bool (N, 1)
    most: tuple[int, int]  # pixels down or up, and right or left, that any image may have moved


def check_boxes_can(augmentation: Augmentation) -> None:
    """Raise InputError for augmentation for which the new boxes are not known."""
    refused = {
        "randaugment": augmentation.randaugment is not None,
        "cutout": augmentation.cutout > 0,
        "mixup": augmentation.mixup > 0,
        "cutmix": augmentation.cutmix > 0,
    }
    if names := [name for name, is_set in refused.items() if is_set]:
        raise InputError(
            f"train.augmentation: {' and '.join(names)} cannot be used with boxes, which do not "
            f"turn and are not mixed; leave out, and use random_resized_crop, flip, crop_padding, "
            f"translate, brightness, contrast or saturation"
        )


def crop_boxes(boxes: Tensor, crops: Tensor, *, height: int, width: int) -> Tensor:
    """Boxes after `crop_and_resize`; crops (N, 4) are those of `draw_crops`."""
    top, left, tall, wide = crops.to(boxes.dtype)[:, :, None].unbind(1)  # (N, 1)
    x = (boxes[:, :, 0:4:2] - left[:, :, None]) * (width / wide)[:, :, None]
    y = (boxes[:, :, 1:4:2] - top[:, :, None]) * (height / tall)[:, :, None]
    return _within(x, y, boxes[:, :, 4], height=height, width=width)


def move_boxes(boxes: Tensor, moves: Moves, *, height: int, width: int) -> Tensor:
    """Boxes after `moves` of their images."""
    x = boxes[:, :, 0:4:2] + moves.right[:, :, None]
    y = boxes[:, :, 1:4:2] + moves.down[:, :, None]
    x = torch.where(moves.mirrored[:, :, None], (width - x).flip(2), x)
    return _within(x, y, boxes[:, :, 4], height=height, width=width)


def _within(x: Tensor, y: Tensor, classes: Tensor, *, height: int, width: int) -> Tensor:
    """Boxes of x and y (N, P, 2) clipped to the image.

    A box of which LEAST of the area or less is left becomes NO_BOX; its row stays.
    """
    inside_x, inside_y = x.clamp(0, width), y.clamp(0, height)
    whole = (x[:, :, 1] - x[:, :, 0]) * (y[:, :, 1] - y[:, :, 0])
    left = (inside_x[:, :, 1] - inside_x[:, :, 0]) * (inside_y[:, :, 1] - inside_y[:, :, 0])
    classes = classes.where(left > LEAST * whole, NO_BOX)
    columns = inside_x[:, :, 0], inside_y[:, :, 0], inside_x[:, :, 1], inside_y[:, :, 1], classes
    return torch.stack(columns, dim=2)


def resize_boxes(boxes: Tensor, factor: float) -> Tensor:
    """The boxes of images that are `factor` times as large."""
    return torch.cat([boxes[:, :, :4] * factor, boxes[:, :, 4:]], dim=2)


def targets_of(boxes: Tensor) -> list[dict[str, Tensor]]:
    """For each image `boxes` (M, 4) and `labels` int64 (M,), the form that a detector takes."""
    there = boxes[:, :, 4] >= 0
    # The boxes come first, so that only one read of the counts waits for the device.
    order = there.int().argsort(dim=1, descending=True, stable=True)
    first = boxes.gather(1, order[:, :, None].expand_as(boxes))
    return [
        {"boxes": own[:count, :4], "labels": own[:count, 4].long()}
        for own, count in zip(first, there.sum(1).tolist(), strict=True)
    ]
