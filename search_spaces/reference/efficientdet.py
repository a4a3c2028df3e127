"""EfficientDet D0 to D7x: EfficientNet bodies with a BiFPN, grown by a table.

Tan et al., arXiv:1911.09070, Table 1 and equations 1 to 3: the width of the BiFPN is 64 * 1.35^phi,
rounded by hand, its layers are 3 + phi, those of the predictors 3 + phi // 3, the resolution is
512 + 128 phi. So depth and resolution are added to, not multiplied; D6 and D7 leave the rule. As in
the authors' code, convolutions before a batch norm have a bias.
"""

from typing import NamedTuple

from search_spaces.architecture import Architecture
from search_spaces.heads import Anchors, BiFPNHead
from search_spaces.reference.efficientnet import efficientnet


class Grown(NamedTuple):
    """A row of Table 1: body, pixels, width and layers of the BiFPN, layers of the predictor.

    From D6 on maps are summed without weights, for the stability of trainings. D7 and D7x are of
    google/automl: larger anchors, and one level more.
    """

    body: str
    resolution: int
    channels: int
    layers: int
    predictor: int
    weighted: bool = True
    size: float = 4.0
    coarsest: int = 128


GROWN = {
    "d0": Grown("b0", 512, 64, 3, 3),
    "d1": Grown("b1", 640, 88, 4, 3),
    "d2": Grown("b2", 768, 112, 5, 3),
    "d3": Grown("b3", 896, 160, 6, 4),
    "d4": Grown("b4", 1024, 224, 7, 4),
    "d5": Grown("b5", 1280, 288, 7, 4),
    "d6": Grown("b6", 1280, 384, 8, 5, weighted=False),
    "d7": Grown("b6", 1536, 384, 8, 5, weighted=False, size=5.0),
    "d7x": Grown("b7", 1536, 384, 8, 5, weighted=False, coarsest=256),
}


def efficientdet(name: str, *, member: str) -> Architecture:
    """`d0` ... `d7`, `d7x`; 90 classes are COCO's."""
    row = GROWN[member]
    body = efficientnet(name, member=row.body)
    levels = tuple(stride for stride in (8, 16, 32, 64, 128, 256) if stride <= row.coarsest)
    predictor = Anchors(
        kind="anchors",
        layers=row.predictor,
        convolution="separable",
        norm="batch_norm",
        size=row.size,
        detections=100,
    )
    head = BiFPNHead(
        kind="bifpn",
        channels=row.channels,
        layers=row.layers,
        levels=levels,
        fusion="weighted" if row.weighted else "sum",
        predictor=predictor,
    )
    return body.replace(resolution=row.resolution, head=head)
