"""Detectors on bodies of classifiers, as torchvision builds them: FCOS on ResNet-50.

Tian et al., arXiv:2006.09214.
"""

from collections.abc import Callable

from search_spaces.architecture import Architecture
from search_spaces.heads import FPNHead, Points
from search_spaces.reference.resnet import bottleneck_resnet

COCO = 800  # px: the shorter side that torchvision brings an image to


def fcos_resnet50(name: str) -> Architecture:
    """torchvision's fcos_resnet50_fpn; 91 classes are COCO's there."""
    head = FPNHead(kind="fpn", levels=(8, 16, 32, 64, 128), predictor=Points(kind="points"))
    return bottleneck_resnet(name, depth=50).replace(resolution=COCO, head=head)


DETECTORS: dict[str, Callable[[str], Architecture]] = {
    "fcos_resnet50_fpn": fcos_resnet50,
}
