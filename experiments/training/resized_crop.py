"""Random crops of any size, resized to the whole image: Inception's (arXiv:1409.4842)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_RATIO = (3 / 4, 4 / 3)  # of width to height
_TRIES = 10  # as in torchvision


def resized_crop(images: Tensor, *, least: float, generator: torch.Generator) -> Tensor:
    """uint8 (N, C, H, W), each cropped to `least` to all of its area and resized back, bilinear."""
    return crop_and_resize(images, draw_crops(images, least=least, generator=generator))


def draw_crops(images: Tensor, *, least: float, generator: torch.Generator) -> Tensor:
    """(top, left, height, width) of each image's crop, whole pixels, (N, 4).

    The first of ten draws of area and ratio that fits, or else the whole image.
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


def crop_and_resize(images: Tensor, crops: Tensor) -> Tensor:
    """Each image's crop at the size of the whole, as torchvision's `resized_crop` gives it."""
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
    pixels = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return pixels.round_().to(torch.uint8)


def _places(first: Tensor, length: Tensor, size: int) -> Tensor:
    """Where each of `size` pixels comes from: never from outside of the crop."""
    steps = (torch.arange(size, device=first.device) + 0.5) / size
    return first + torch.minimum((steps * length - 0.5).clamp(min=0), (length - 1).float())
