"""How training images are varied: the settings; experiments/training/augmentation.py does it."""

from typing import Annotated

from pydantic import Field

from search_spaces.records import Record

Strength = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class RandAugment(Record):
    """So many operations an image, drawn from torchvision's fourteen (arXiv:1909.13719)."""

    count: Annotated[int, Field(ge=1, le=8)] = 2
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9  # of 30


class Augmentation(Record):
    """Each image's own draw, in this order, on the training device. Off unless set, but `flip`."""

    # The least share of the area that a random crop keeps, resized to the whole (ratio 3/4 to 4/3).
    random_resized_crop: Annotated[float, Field(gt=0, le=1)] | None = None
    flip: bool = True  # half of the images are mirrored
    crop_padding: Annotated[int, Field(ge=0)] = 0  # pixels of zero padding before a random crop
    translate: Share = 0.0  # at most so far each way, of the side; zeros come in
    brightness: Strength = 0.0  # a factor from 1 - x to 1 + x
    contrast: Strength = 0.0  # likewise, around the image's mean grey
    saturation: Strength = 0.0  # likewise, around each pixel's grey; nothing on grey images
    randaugment: RandAugment | None = None
    cutout: Share = 0.0  # side of a black square of the image's (arXiv:1708.04552)
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0  # alpha of Beta(alpha, alpha); with a
    cutmix: Annotated[float, Field(ge=0, le=10)] = 0.0  # neighbour of the batch; both: either one

    @property
    def mixes(self) -> bool:
        """Whether targets become shares of two classes."""
        return self.mixup > 0 or self.cutmix > 0
