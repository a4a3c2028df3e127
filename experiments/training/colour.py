"""Brightness, contrast and saturation of a batch, each image by its own factors."""

import torch
from torch import Tensor

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

    What a factor does is torchvision's `adjust_brightness` and so on, but rounded once, at the end.
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
    """(N, 1, H, W); of a grey image itself."""
    if pixels.shape[1] != 3:
        return pixels
    red, green, blue = (pixels[:, channel : channel + 1] for channel in range(3))
    return _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue


def _factors(pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    drawn = torch.rand((len(pixels), 1, 1, 1), generator=generator, device=pixels.device)
    return 1 + strength * (2 * drawn - 1)
