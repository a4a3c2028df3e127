"""What the papers print about scaled networks, to stand beside what we measure.

Figures are facts of the sources named; top-1 is ImageNet's, in per cent.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """A printed row; None where the paper prints no such figure."""

    flops: float | None
    top1: float | None


# arXiv:1905.11946v5, Table 2 (FLOPs) and Table 8 (top-1 on the validation set).
EFFICIENTNETS: dict[str, Published] = {
    "efficientnet_b0": Published(0.39e9, 77.11),
    "efficientnet_b1": Published(0.70e9, 79.13),
    "efficientnet_b2": Published(1.0e9, 80.07),
    "efficientnet_b3": Published(1.8e9, 81.59),
    "efficientnet_b4": Published(4.2e9, 82.89),
    "efficientnet_b5": Published(9.9e9, 83.60),
    "efficientnet_b6": Published(19e9, 83.95),
    "efficientnet_b7": Published(37e9, 84.26),
}

# Depth, width and resolution factors of Table 3 and Table 7. The compound factors are printed for
# EfficientNet-B0 and MobileNetV1 alone; the other rows' are not published.
DIMENSIONS: dict[str, tuple[float, float, float]] = {
    "depth": (4.0, 1.0, 1.0),
    "width": (1.0, 2.0, 1.0),
    "resolution": (1.0, 1.0, 2.0),
    "compound": (1.4, 1.2, 1.3),
}

# (network, dimension) -> printed row. B0's single rows print 1.8B to 1.9B, which d = 4, w = 2 and
# r = 2 do not give with the official rounding; ResNet-50's depth and width rows fit our counts only
# if the two are swapped.
SINGLE_AND_COMPOUND: dict[tuple[str, str], Published] = {
    ("efficientnet_b0", "depth"): Published(1.8e9, 79.0),
    ("efficientnet_b0", "width"): Published(1.8e9, 78.9),
    ("efficientnet_b0", "resolution"): Published(1.9e9, 79.1),
    ("efficientnet_b0", "compound"): Published(1.8e9, 81.1),
    ("mobilenet_v1", "width"): Published(2.2e9, 74.2),
    ("mobilenet_v1", "resolution"): Published(2.2e9, 72.7),
    ("mobilenet_v1", "compound"): Published(2.3e9, 75.6),
    ("mobilenet_v2", "depth"): Published(1.2e9, 76.8),
    ("mobilenet_v2", "width"): Published(1.1e9, 76.4),
    ("mobilenet_v2", "resolution"): Published(1.2e9, 74.8),
    ("mobilenet_v2", "compound"): Published(1.3e9, 77.4),
    ("resnet50", "depth"): Published(16.2e9, 78.1),
    ("resnet50", "width"): Published(14.7e9, 77.7),
    ("resnet50", "resolution"): Published(16.4e9, 77.5),
    ("resnet50", "compound"): Published(16.7e9, 78.8),
}
