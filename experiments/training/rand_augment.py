"""Changes of colour, each image by its own factor, and RandAugment, on a batch."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from experiments.config.recipe import RandAugment

_GREY = (0.2989, 0.587, 0.114)  # of red, green and blue, as torchvision and ITU-R BT.601 weigh them


def jitter(
    images: Tensor,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    generator: torch.Generator,
) -> Tensor:
    """uint8 (N, C, H, W), each image with factors from 1 - x to 1 + x, in the order of the names.

    Factors act as in torchvision's `adjust_brightness` and so on, but are rounded once at the end.
    With all three 0 nothing is drawn.
    """
    if not (brightness or contrast or saturation):
        return images
    pixels = images.float()
    if brightness:
        pixels = brighten(pixels, _factors(pixels, brightness, generator))
    if contrast:
        pixels = stretch(pixels, _factors(pixels, contrast, generator))
    if saturation:
        pixels = saturate(pixels, _factors(pixels, saturation, generator))
    return pixels.round_().to(torch.uint8)


def brighten(pixels: Tensor, factors: Tensor | float) -> Tensor:
    """Times `factors`; pixels are float (N, C, H, W), 0 to 255."""
    return (pixels * factors).clamp_(0, 255)


def stretch(pixels: Tensor, factors: Tensor | float) -> Tensor:
    """Away from the image's mean grey, or towards it."""
    return _blend(pixels, _grey(pixels).mean(dim=(1, 2, 3), keepdim=True), factors)


def saturate(pixels: Tensor, factors: Tensor | float) -> Tensor:
    """Away from each pixel's grey, or towards it."""
    return _blend(pixels, _grey(pixels), factors)


def _blend(pixels: Tensor, other: Tensor, factors: Tensor | float) -> Tensor:
    return (other + (pixels - other) * factors).clamp_(0, 255)


def _grey(pixels: Tensor) -> Tensor:
    """(N, 1, H, W); a grey image itself."""
    if pixels.shape[1] != 3:
        return pixels
    red, green, blue = (pixels[:, channel : channel + 1] for channel in range(3))
    return _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue


def _factors(pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    drawn = torch.rand((len(pixels), 1, 1, 1), generator=generator, device=pixels.device)
    return 1 + strength * (2 * drawn - 1)


_BINS = 30  # magnitudes go from 0 to 30, as in the paper


def rand_augment(
    images: Tensor, masks: Tensor | None, settings: RandAugment, *, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """`count` times, each image through one of OPERATIONS (arXiv:1909.13719), uint8 (N, C, H, W).

    All have the same magnitude, half of them negated. Pixels that enter at an edge are black.
    `masks` uint8 (N, 1, H, W) move too if an operation moves pixels.
    """
    strength = settings.magnitude / _BINS
    for _ in range(settings.count):
        drawn = torch.randint(
            2 * len(OPERATIONS), (len(images),), generator=generator, device=images.device
        )
        result = torch.empty_like(images)
        moved = None if masks is None else masks.clone()
        groups = drawn.cpu()  # the only wait for the device: how many images drew each
        for number in sorted(set(groups.tolist())):
            name, operation = list(OPERATIONS.items())[number // 2]
            sign = 1 if number % 2 else -1
            chosen = (groups == number).nonzero()[:, 0].to(images.device)
            result[chosen] = operation(images[chosen], strength, sign)
            if masks is not None and moved is not None and name in MOVING:
                moved[chosen] = operation(masks[chosen], strength, sign)
        images, masks = result, moved
    return images, masks


MOVING = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")  # they take nearest pixels
# uint8 (N, C, H, W), strength s from 0 to 1, and sign d, 1 or -1 -> the same
Operation = Callable[[Tensor, float, int], Tensor]
# Names and strengths are those of torchvision's RandAugment.
OPERATIONS: dict[str, Operation] = {
    "Identity": lambda x, _s, _d: x,
    "ShearX": lambda x, s, d: _affine(x, shear=(d * _degrees(s), 0.0)),
    "ShearY": lambda x, s, d: _affine(x, shear=(0.0, d * _degrees(s))),
    "TranslateX": lambda x, s, d: _affine(x, move=(d * int(150 / 331 * x.shape[3] * s), 0)),
    "TranslateY": lambda x, s, d: _affine(x, move=(0, d * int(150 / 331 * x.shape[2] * s))),
    "Rotate": lambda x, s, d: _torchvision().rotate(x, d * 30 * s),
    "Brightness": lambda x, s, d: _coloured(brighten, x, d * s),
    "Color": lambda x, s, d: _coloured(saturate, x, d * s),
    "Contrast": lambda x, s, d: _coloured(stretch, x, d * s),
    "Sharpness": lambda x, s, d: _torchvision().adjust_sharpness(x, 1 + d * 0.9 * s),
    "Posterize": lambda x, s, _d: _torchvision().posterize(x, 8 - round(4 * s)),
    "Solarize": lambda x, s, _d: _torchvision().solarize(x, 255 * (1 - s)),
    "AutoContrast": lambda x, _s, _d: _torchvision().autocontrast(x),
    "Equalize": lambda x, _s, _d: _torchvision().equalize(x),
}


def _torchvision() -> Any:
    from torchvision.transforms.v2 import functional  # takes a second to import

    return functional


def _degrees(strength: float) -> float:
    """The angle of a shear by up to 0.3 of the other side."""
    return math.degrees(math.atan(0.3 * strength))


def _affine(
    images: Tensor,
    *,
    shear: tuple[float, float] = (0.0, 0.0),
    move: tuple[int, int] = (0, 0),
) -> Tensor:
    return _torchvision().affine(
        images, angle=0.0, translate=list(move), scale=1.0, shear=list(shear), center=[0, 0]
    )


def _coloured(change: Callable[[Tensor, float], Tensor], images: Tensor, by: float) -> Tensor:
    return change(images.float(), 1 + 0.9 * by).round_().to(torch.uint8)
