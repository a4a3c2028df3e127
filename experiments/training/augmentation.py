"""From stored uint8 images to a network's input, a batch at a time, on the training device."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import functional

from experiments.config.recipe import Augmentation
from experiments.data.images import IGNORED, ChannelStatistics
from experiments.training.moving import Moves, crop_boxes, move_boxes
from experiments.training.rand_augment import jitter, rand_augment

_QUANTILES = 4096  # of the Beta distribution; values between them are interpolated


def vary(
    images: Tensor,
    targets: Tensor | None,
    *,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor | None]:
    """Vary each image by its own draw from `generator`; uint8 (N, C, H, W), on its device.

    Masks uint8 (N, H, W), or boxes (N, P, 5), move with their images. A mask takes the nearest
    pixel's class. Where an image gets black pixels, its mask gets 255, as no class is known there.
    Boxes are clipped, and dropped if a tenth or less is left. Mixup and CutMix, which change
    targets too, are in `mix`. With everything off, nothing is drawn and `images` themselves are
    returned.
    """
    settings = augmentation
    if targets is not None and targets.is_floating_point():
        return _vary_boxes(images, targets, settings, generator)
    # Inverted, so that the zeros that enter at the edges become IGNORED in the end.
    turned = None if targets is None else IGNORED - targets[:, None]  # (N, 1, H, W)
    if settings.random_resized_crop is not None:
        crops = draw_crops(images, least=settings.random_resized_crop, generator=generator)
        images = crop_and_resize(images, crops)
        turned = None if turned is None else crop_and_resize(turned, crops, mode="nearest")
    moves = draw_moves(images, settings, generator=generator)
    images, turned = _together(images, turned, lambda x: moved(x, moves))
    images = _jittered(images, settings, generator)
    if settings.randaugment is not None:
        images, turned = rand_augment(images, turned, settings.randaugment, generator=generator)
    if settings.cutout:
        images, turned = _together(
            images, turned, lambda x: cutout(x, share=settings.cutout, generator=generator)
        )
    return images, None if turned is None else IGNORED - turned[:, 0]


def _vary_boxes(
    images: Tensor, boxes: Tensor, settings: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`vary` for boxes, with the augmentation that `check_boxes_can` allows."""
    height, width = images.shape[2:]
    if settings.random_resized_crop is not None:
        crops = draw_crops(images, least=settings.random_resized_crop, generator=generator)
        images = crop_and_resize(images, crops)
        boxes = crop_boxes(boxes, crops, height=height, width=width)
    moves = draw_moves(images, settings, generator=generator)
    if moves is not None:
        images = moved(images, moves)
        boxes = move_boxes(boxes, moves, height=height, width=width)
    return _jittered(images, settings, generator), boxes


def _jittered(images: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    return jitter(
        images,
        brightness=settings.brightness,
        contrast=settings.contrast,
        saturation=settings.saturation,
        generator=generator,
    )


def _together(
    images: Tensor, turned: Tensor | None, change: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor | None]:
    """`change` of images and of inverted masks as one more channel, with the same draws."""
    if turned is None:
        return change(images), None
    both = change(torch.cat([images, turned], dim=1))
    return both[:, :-1], both[:, -1:]


def draw_moves(
    images: Tensor, settings: Augmentation, *, generator: torch.Generator
) -> Moves | None:
    """How each image is moved by whole pixels and flipped: pad-and-crop and translation."""
    count, _, height, width = images.shape
    padding = settings.crop_padding
    down, across = (round(settings.translate * side) for side in (height, width))
    if not (settings.flip or padding or down or across):
        return None

    def draw(below: int, *shape: int) -> Tensor:
        return torch.randint(below, (*shape, count, 1), generator=generator, device=images.device)

    rows = torch.zeros((count, 1), dtype=torch.int64, device=images.device)
    columns, mirrored = rows, rows == 1
    if settings.flip:
        mirrored = draw(2) == 1
    if padding:
        corners = draw(2 * padding + 1, 2)
        rows, columns = rows + corners[0], columns + corners[1]
    if down or across:
        rows = rows + draw(2 * down + 1)
        columns = columns + draw(2 * across + 1)
    beside, above = padding + across, padding + down
    return Moves(above - rows, beside - columns, mirrored, most=(above, beside))


def moved(images: Tensor, moves: Moves | None) -> Tensor:
    """The images (N, C, H, W) after `moves`; zeros enter at the edges."""
    if moves is None:
        return images
    count, channels, height, width = images.shape
    above, beside = moves.most
    rows = torch.arange(height, device=images.device) + (above - moves.down)  # (N, H)
    columns = torch.arange(width, device=images.device).expand(count, width)  # (N, W)
    columns = torch.where(moves.mirrored, width - 1 - columns, columns) + (beside - moves.right)
    if beside or above:
        images = functional.pad(images, (beside, beside, above, above))
    source = rows[:, :, None] * images.shape[3] + columns[:, None, :]  # (N, H, W)
    source = source.view(count, 1, -1).expand(count, channels, -1)
    # Gathering from flattened pixels was 1.5 to 3.5 times faster than indexing or unfolding.
    return images.flatten(2).gather(2, source).view(count, channels, height, width)


def cutout(images: Tensor, *, share: float, generator: torch.Generator) -> Tensor:
    """A black square in each image, around a random pixel, so that a part may lie outside."""
    height, width = images.shape[2:]
    side = round(share * min(height, width))
    inside = boxes(len(images), height, width, tall=side, wide=side, generator=generator)
    return images.masked_fill(inside, 0)


def boxes(
    count: int,
    height: int,
    width: int,
    *,
    tall: Tensor | int,  # (N, 1) or a number, pixels
    wide: Tensor | int,
    generator: torch.Generator,
) -> Tensor:
    """True within a box around a random pixel of each image, cut off at the edges: (N, 1, H, W)."""
    device = generator.device
    first_row = torch.randint(height, (count, 1), generator=generator, device=device) - tall // 2
    first_column = torch.randint(width, (count, 1), generator=generator, device=device) - wide // 2
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    in_rows = (rows >= first_row) & (rows < first_row + tall)  # (N, H)
    in_columns = (columns >= first_column) & (columns < first_column + wide)  # (N, W)
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def resize_images(images: Tensor, resolution: int) -> Tensor:
    """Floating-point (N, C, H, W) to (N, C, R, R): bilinear, antialiased if it shrinks."""
    if images.shape[2:] == (resolution, resolution):
        return images
    return functional.interpolate(
        images, size=(resolution, resolution), mode="bilinear", antialias=True
    )


@dataclass(frozen=True, eq=False)
class Preparation:
    """Normalise and resize: uint8 (N, C, H, W) -> float32 (N, C, R, R).

    With `patches` images are larger than the network's input: see `windows.pixel_scores`.
    """

    scale: Tensor  # (C, 1, 1), of a uint8 value
    shift: Tensor  # (C, 1, 1)
    resolution: int
    layout: torch.memory_format
    patches: bool = False

    @classmethod
    def of(
        cls,
        statistics: ChannelStatistics,
        *,
        resolution: int,
        device: torch.device,
        layout: torch.memory_format = torch.contiguous_format,
        patches: bool = False,
    ) -> Self:
        """The preparation for images with these statistics."""
        scale, shift = scale_and_shift(statistics.mean, statistics.std)
        return cls(scale.to(device), shift.to(device), resolution, layout, patches)

    def __call__(self, images: Tensor) -> Tensor:
        inputs = resize_images(self.normalised(images), self.resolution)
        return inputs.contiguous(memory_format=self.layout)

    def cuts(self, images: Tensor) -> bool:
        """Whether the network sees pieces of these images, not the whole."""
        return self.patches and images.shape[-1] > self.resolution

    def normalised(self, images: Tensor) -> Tensor:
        """float32 (N, C, H, W), not resized."""
        return normalise(images, scale=self.scale, shift=self.shift)


def scale_and_shift(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """1 / (255 std) and -mean / std of each channel, float32 (C, 1, 1)."""
    means, stds = (torch.tensor(x, dtype=torch.float64).view(-1, 1, 1) for x in (mean, std))
    return (1 / (255 * stds)).float(), (-means / stds).float()


def normalise(images: Tensor, *, scale: Tensor, shift: Tensor) -> Tensor:
    """float32 `images * scale + shift`; see `scale_and_shift`."""
    return images.to(torch.float32).mul_(scale).add_(shift)


_RATIO = (3 / 4, 4 / 3)  # of width to height
_TRIES = 10  # as in torchvision


def draw_crops(images: Tensor, *, least: float, generator: torch.Generator) -> Tensor:
    """(top, left, height, width) of each image's crop, whole pixels, (N, 4).

    Its area is from `least` to all of the image: the first of ten draws of area and ratio that
    fits, or else the whole image.
    """
    count, _, height, width = images.shape
    device = images.device
    drawn = torch.rand((4, count, _TRIES), generator=generator, device=device)
    area = height * width * (least + (1 - least) * drawn[0])
    ratio = torch.exp(math.log(_RATIO[0]) + math.log(_RATIO[1] / _RATIO[0]) * drawn[1])
    wide, tall = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (wide >= 1) & (wide <= width) & (tall >= 1) & (tall <= height)  # (N, tries)
    top = (drawn[2] * (height - tall + 1)).long()
    left = (drawn[3] * (width - wide + 1)).long()
    tried = torch.stack([top, left, tall, wide], dim=2)  # (N, tries, 4)
    first = fits.int().argmax(dim=1)
    chosen = tried[torch.arange(count, device=device), first]
    whole = torch.tensor([0, 0, height, width], device=device)
    return torch.where(fits.any(dim=1, keepdim=True), chosen, whole)


def crop_and_resize(
    images: Tensor, crops: Tensor, *, mode: Literal["bilinear", "nearest"] = "bilinear"
) -> Tensor:
    """Each image's crop at the size of the whole, as by torchvision's `resized_crop`."""
    height, width = images.shape[2:]
    rows = _places(crops[:, 0:1], crops[:, 2:3], height)  # (N, H), in pixels of the image
    columns = _places(crops[:, 1:2], crops[:, 3:4], width)
    grid = torch.stack(
        [
            ((2 * columns + 1) / width - 1)[:, None, :].expand(-1, height, -1),
            ((2 * rows + 1) / height - 1)[:, :, None].expand(-1, -1, width),
        ],
        dim=3,
    )  # (N, H, W, 2), -1 to 1
    pixels = functional.grid_sample(
        images.float(), grid, mode=mode, padding_mode="border", align_corners=False
    )
    return pixels.round_().to(torch.uint8)


def _places(first: Tensor, length: Tensor, size: int) -> Tensor:
    """Where each of `size` pixels comes from: never from outside of the crop."""
    steps = (torch.arange(size, device=first.device) + 0.5) / size
    return first + torch.minimum((steps * length - 0.5).clamp(min=0), (length - 1).float())


def mix(
    images: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """uint8 (N, C, H, W) and labels int64 (N,) -> mixed images, and targets float32 (N, classes).

    Each image keeps a share drawn from Beta(alpha, alpha). The rest comes from another image of the
    batch: pixel by pixel (mixup, arXiv:1710.09412) or a box (CutMix, arXiv:1905.04899). If both are
    set, each image takes one of them. With neither, images and labels are returned unchanged, and
    nothing is drawn.
    """
    if not augmentation.mixes:
        return images, labels
    others = images.roll(1, 0)
    if not augmentation.cutmix:
        mixed, share = _mixup(images, others, augmentation.mixup, generator)
    elif not augmentation.mixup:
        mixed, share = _cutmix(images, others, augmentation.cutmix, generator)
    else:
        blended, blend_share = _mixup(images, others, augmentation.mixup, generator)
        cut, cut_share = _cutmix(images, others, augmentation.cutmix, generator)
        coin = torch.randint(2, (len(images),), generator=generator, device=images.device) == 1
        mixed = torch.where(coin[:, None, None, None], blended, cut)
        share = torch.where(coin, blend_share, cut_share)
    own = F.one_hot(labels, num_classes).float()
    return mixed, share[:, None] * own + (1 - share[:, None]) * own.roll(1, 0)


def _mixup(
    images: Tensor, others: Tensor, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    share = draw_beta(len(images), alpha, generator=generator)
    mixed = torch.lerp(others.float(), images.float(), share[:, None, None, None])
    return mixed.round_().to(torch.uint8), share


def _cutmix(
    images: Tensor, others: Tensor, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    count, _, height, width = images.shape
    side = (1 - draw_beta(count, alpha, generator=generator)).sqrt()[:, None]  # of the box, (N, 1)
    tall, wide = (side * height).round().long(), (side * width).round().long()
    inside = boxes(count, height, width, tall=tall, wide=wide, generator=generator)
    share = 1 - inside.float().mean(dim=(1, 2, 3))  # the actual share: edges cut boxes
    return torch.where(inside, others, images), share


def draw_beta(count: int, alpha: float, *, generator: torch.Generator) -> Tensor:
    """float32 (N,) from Beta(alpha, alpha): its quantiles at uniform draws.

    torch's own distribution takes no generator, and its rejection sampling waits for the device.
    """
    drawn = torch.rand((count,), generator=generator, device=generator.device)
    quantiles = _quantiles(alpha, generator.device)
    place = drawn * _QUANTILES
    below = place.long().clamp_(max=_QUANTILES - 1)
    return torch.lerp(quantiles[below], quantiles[below + 1], place - below)


@lru_cache(maxsize=8)
def _quantiles(alpha: float, device: torch.device) -> Tensor:
    from scipy.stats import beta  # takes seconds to import, and only mixing needs it

    values = beta.ppf(np.linspace(0, 1, _QUANTILES + 1), alpha, alpha)
    return torch.from_numpy(values).float().to(device)
