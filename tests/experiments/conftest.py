"""A problem that a small network learns in a few epochs: on which side is the bright bar?"""

import numpy as np
import pytest

from experiments.data.images import ImageData, Split
from search_spaces.architecture import Architecture


def bars(count: int, *, seed: int) -> Split:
    random = np.random.RandomState(seed)
    labels = np.arange(count) % 2
    images = random.randint(0, 60, (count, 1, 8, 8)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, :, 1 + 5 * label] = 255
    return Split(images, labels.astype(np.int64))


@pytest.fixture
def data() -> ImageData:
    parts = bars(100, seed=0), bars(40, seed=1), bars(40, seed=2)
    return ImageData("bars", ("left", "right"), *parts, fingerprint="0" * 16)


@pytest.fixture
def tiny() -> Architecture:
    """Two stages of MBConv for 8 x 8 pixels."""
    block = {"kind": "mbconv", "expand_ratio": 2, "kernel_size": 3, "se_ratio": 0.25}
    return Architecture.parse(
        {
            "name": "tiny",
            "resolution": 8,
            "stem": {"channels": 8, "block": {"kind": "conv", "kernel_size": 3}, "stride": 1},
            "stages": [
                {"channels": 8, "layers": 1, "stride": 1, "block": block},
                {"channels": 16, "layers": 2, "stride": 2, "block": block},
            ],
            "head": {"channels": 32},
        },
        source="tiny",
    )
