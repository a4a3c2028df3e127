"""Detectors on bodies of classifiers, as torchvision builds them: three on ResNet-50 and a pyramid.

Tian et al., arXiv:2006.09214; Lin et al., arXiv:1708.02002; Ren et al., arXiv:1506.01497.
"""

from collections.abc import Callable

from search_spaces.architecture import Architecture
from search_spaces.heads import Anchors, FPNHead, Points, Proposals
from search_spaces.heads.pyramid import Beyond
from search_spaces.reference.resnet import bottleneck_resnet

COCO = 800  # px: the shorter side that torchvision brings an image to
RETINA = (8, 16, 32, 64, 128)  # strides of the levels of RetinaNet and FCOS


def fcos_resnet50(name: str) -> Architecture:
    """torchvision's fcos_resnet50_fpn; 91 classes are COCO's there."""
    return on_resnet50(name, RETINA, Points(kind="points"))


def retinanet_resnet50(name: str) -> Architecture:
    """torchvision's retinanet_resnet50_fpn."""
    return on_resnet50(name, RETINA, Anchors(kind="anchors"))


def faster_rcnn_resnet50(name: str) -> Architecture:
    """torchvision's fasterrcnn_resnet50_fpn at 1,000 proposals; its 91 classes are 90 and none."""
    return on_resnet50(name, (4, 8, 16, 32, 64), Proposals(kind="proposals"), beyond="max_pool")


def on_resnet50(
    name: str,
    levels: tuple[int, ...],
    predictor: Points | Anchors | Proposals,
    *,
    beyond: Beyond = "convolution",
) -> Architecture:
    """A predictor on a pyramid of 256 channels on ResNet-50."""
    head = FPNHead(kind="fpn", levels=levels, beyond=beyond, predictor=predictor)
    return bottleneck_resnet(name, depth=50).replace(resolution=COCO, head=head)


DETECTORS: dict[str, Callable[[str], Architecture]] = {
    "fcos_resnet50_fpn": fcos_resnet50,
    "retinanet_resnet50_fpn": retinanet_resnet50,
    "fasterrcnn_resnet50_fpn": faster_rcnn_resnet50,
}
