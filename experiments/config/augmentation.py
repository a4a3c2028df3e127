"""How training images are varied: the settings; experiments/training/augmentation.py does it."""

from typing import Annotated

from pydantic import Field

from search_spaces.records import Record

Strength = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class RandAugment(Record):
    """So many operations an image, drawn from torchvision's fourteen (arXiv:1909.13719)."""

    count: Annotated[int, Field(ge=1, le=8)] = 2
    """Operations for each image."""
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Strength of the operations, of at most 30."""


class Augmentation(Record):
    """Each image's own draw, in this order, on the training device. Off unless set, but `flip`."""

    random_resized_crop: Annotated[float, Field(gt=0, le=1)] | None = None
    """The least share of the area that a random crop keeps. The crop has a ratio between 3/4 and
    4/3 and is resized to the whole image. Off unless set.
    """
    flip: bool = True
    """Mirror half of the images."""
    crop_padding: Annotated[int, Field(ge=0)] = 0
    """Pixels of zeros around the image before a random crop."""
    translate: Share = 0.0
    """The farthest move each way, as a share of the side. Zeros come in."""
    brightness: Strength = 0.0
    """Brightness is multiplied by a factor from 1 - x to 1 + x."""
    contrast: Strength = 0.0
    """The same around the image's mean grey."""
    saturation: Strength = 0.0
    """The same around each pixel's grey. Grey images do not change."""
    randaugment: RandAugment | None = None
    """Random operations of RandAugment. Off unless set."""
    cutout: Share = 0.0
    """Side of a black square, as a share of the image's (arXiv:1708.04552)."""
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0
    """The alpha of Beta(alpha, alpha), with which two images are mixed (arXiv:1710.09412)."""
    cutmix: Annotated[float, Field(ge=0, le=10)] = 0.0
    """The alpha with which a part is cut into another image (arXiv:1905.04899). With `mixup` too,
    each batch gets one of them.
    """

    @property
    def mixes(self) -> bool:
        """Whether targets become shares of two classes."""
        return self.mixup > 0 or self.cutmix > 0
