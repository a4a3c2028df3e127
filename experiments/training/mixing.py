"""Mixup and CutMix: an image and a share of the next one, and targets in the same shares."""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.config.recipe import Augmentation
from experiments.training.augmentation import boxes

_QUANTILES = 4096  # of the Beta distribution, between which is interpolated


def mix(
    images: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """uint8 (N, C, H, W) and labels int64 (N,) -> mixed images, and targets float32 (N, classes).

    Each image keeps its own share, drawn from Beta(alpha, alpha), of which an image of the batch
    takes the rest: pixel by pixel (mixup, arXiv:1710.09412) or a box (CutMix, arXiv:1905.04899).
    Where both are set each image takes either. With neither, images and labels come back as they
    are, and nothing is drawn.
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
    share = 1 - inside.float().mean(dim=(1, 2, 3))  # as it is, cut off at the edges
    return torch.where(inside, others, images), share


def draw_beta(count: int, alpha: float, *, generator: torch.Generator) -> Tensor:
    """float32 (N,) from Beta(alpha, alpha): its quantiles at uniform draws.

    torch's own distribution takes no generator, and rejects: it would wait for the device.
    """
    drawn = torch.rand((count,), generator=generator, device=generator.device)
    quantiles = _quantiles(alpha, generator.device)
    place = drawn * _QUANTILES
    below = place.long().clamp_(max=_QUANTILES - 1)
    return torch.lerp(quantiles[below], quantiles[below + 1], place - below)


@lru_cache(maxsize=8)
def _quantiles(alpha: float, device: torch.device) -> Tensor:
    from scipy.stats import beta  # seconds to import, for mixing alone

    values = beta.ppf(np.linspace(0, 1, _QUANTILES + 1), alpha, alpha)
    return torch.from_numpy(values).float().to(device)
