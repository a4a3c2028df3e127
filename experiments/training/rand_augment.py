"""RandAugment on a batch: images that drew the same operation go through it together."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from experiments.config.augmentation import RandAugment
from experiments.training.colour import brighten, saturate, stretch

_BINS = 30  # magnitudes 0 to 30
# uint8 (N, C, H, W), strength from 0 to 1, and 1 or -1 -> the same
Operation = Callable[[Tensor, float, int], Tensor]


def rand_augment(images: Tensor, settings: RandAugment, *, generator: torch.Generator) -> Tensor:
    """`count` times, each image through one of OPERATIONS (arXiv:1909.13719), uint8 (N, C, H, W).

    All with the same magnitude; half of them with it negated. What comes in at an edge is black.
    """
    strength = settings.magnitude / _BINS
    for _ in range(settings.count):
        drawn = torch.randint(
            2 * len(OPERATIONS), (len(images),), generator=generator, device=images.device
        )
        result = torch.empty_like(images)
        groups = drawn.cpu()  # the only wait for the device: how many drew what
        for number in sorted(set(groups.tolist())):
            operation = list(OPERATIONS.values())[number // 2]
            chosen = (groups == number).nonzero()[:, 0].to(images.device)
            result[chosen] = operation(images[chosen], strength, 1 if number % 2 else -1)
        images = result
    return images


def _identity(images: Tensor, _strength: float, _sign: int) -> Tensor:
    return images


def _shear_x(images: Tensor, strength: float, sign: int) -> Tensor:
    return _affine(images, shear=(sign * math.degrees(math.atan(0.3 * strength)), 0.0))


def _shear_y(images: Tensor, strength: float, sign: int) -> Tensor:
    return _affine(images, shear=(0.0, sign * math.degrees(math.atan(0.3 * strength))))


def _translate_x(images: Tensor, strength: float, sign: int) -> Tensor:
    return _affine(images, translate=(sign * int(150 / 331 * images.shape[3] * strength), 0))


def _translate_y(images: Tensor, strength: float, sign: int) -> Tensor:
    return _affine(images, translate=(0, sign * int(150 / 331 * images.shape[2] * strength)))


def _rotate(images: Tensor, strength: float, sign: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.rotate(images, sign * 30 * strength)


def _brightness(images: Tensor, strength: float, sign: int) -> Tensor:
    return _coloured(brighten, images, sign * strength)


def _colour(images: Tensor, strength: float, sign: int) -> Tensor:
    return _coloured(saturate, images, sign * strength)


def _contrast(images: Tensor, strength: float, sign: int) -> Tensor:
    return _coloured(stretch, images, sign * strength)


def _sharpness(images: Tensor, strength: float, sign: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.adjust_sharpness(images, 1 + sign * 0.9 * strength)


def _posterize(images: Tensor, strength: float, _sign: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.posterize(images, 8 - round(4 * strength))


def _solarize(images: Tensor, strength: float, _sign: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.solarize(images, 255 * (1 - strength))


def _autocontrast(images: Tensor, _strength: float, _sign: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.autocontrast(images)


def _equalize(images: Tensor, _strength: float, _sign: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.equalize(images)


# Names and strengths are those of torchvision's RandAugment.
OPERATIONS: dict[str, Operation] = {
    "Identity": _identity,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateX": _translate_x,
    "TranslateY": _translate_y,
    "Rotate": _rotate,
    "Brightness": _brightness,
    "Color": _colour,
    "Contrast": _contrast,
    "Sharpness": _sharpness,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "AutoContrast": _autocontrast,
    "Equalize": _equalize,
}


def _affine(
    images: Tensor,
    *,
    shear: tuple[float, float] = (0.0, 0.0),
    translate: tuple[int, int] = (0, 0),
) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.affine(
        images, angle=0.0, translate=list(translate), scale=1.0, shear=list(shear), center=[0, 0]
    )


def _coloured(change: Callable[[Tensor, float], Tensor], images: Tensor, by: float) -> Tensor:
    return change(images.float(), 1 + 0.9 * by).round_().to(torch.uint8)
