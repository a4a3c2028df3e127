"""Boxes from points (FCOS): each point of a map gives its class, its box and its centreness.

Tian et al., arXiv:2006.09214. The losses and the filtering of boxes are torchvision's.
"""

from typing import ClassVar, Literal

from torch import nn

from search_spaces.heads.head import Row
from search_spaces.heads.one_stage import OneStage
from search_spaces.heads.predictor import (
    BoxPredictor,
    Count,
    Layers,
    Levels,
    Share,
    anchor_generator,
    scores_given,
)
from search_spaces.heads.pyramid import Neck

TowerNorm = Literal["group_norm", "none"]


class Points(BoxPredictor):
    """FCOS: a tower of convolutions for classes, and one for boxes and centreness."""

    farthest: ClassVar = ("class_",)  # the tower of classes
    kind: Literal["points"]
    """The kind of predictor."""
    layers: Layers = 4
    """How many 3 x 3 convolutions stand before the scores."""
    norm: TowerNorm = "group_norm"
    """What normalises them: group norm, in groups of 8 channels or more, or nothing."""
    score_threshold: Share = 0.2
    """Boxes with a lower score are left out."""
    nms_iou: Share = 0.6
    """Of two boxes of one class that overlap more than this, the one with the lower score goes."""
    detections: Count = 100
    """The most boxes of an image."""

    def rows(self, levels: Levels, num_classes: int) -> list[Row]:
        """`class_<i>`, `class_scores`, `box_<i>`, `box_sides`, `box_centreness`."""
        width = levels.channels
        classes, boxes = (
            [levels.row(f"{of}_{i}", width, norm=self.norm) for i in range(self.layers)]
            for of in ("class", "box")
        )
        return [
            *classes,
            levels.scores("class_scores", num_classes),
            *boxes,
            levels.scores("box_sides", 4),
            levels.scores("box_centreness", 1),
        ]

    def assembled(
        self, pyramid: Neck, layers: dict[str, nn.Module], strides: tuple[int, ...]
    ) -> nn.Module:
        """torchvision's FCOS on our layers."""
        from torchvision.models.detection.fcos import FCOS, FCOSHead

        classes, boxes = (
            nn.Sequential(*(layers[f"{of}_{i}"] for i in range(self.layers)))
            for of in ("class", "box")
        )
        width, num_classes = pyramid.out_channels, scores_given(layers["class_scores"])
        head = FCOSHead(width, 1, num_classes, num_convs=0)
        head.classification_head.conv = classes
        head.classification_head.cls_logits = layers["class_scores"]
        head.regression_head.conv = boxes
        head.regression_head.bbox_reg = layers["box_sides"]
        head.regression_head.bbox_ctrness = layers["box_centreness"]
        detector = FCOS(
            pyramid,
            num_classes,
            anchor_generator=anchor_generator(strides, 1.0, (1.0,), octaves=1),
            head=head,
            score_thresh=self.score_threshold,
            nms_thresh=self.nms_iou,
            detections_per_img=self.detections,
        )
        return OneStage(detector)

    def describe(self) -> str:
        """As `FCOS of 4 layers`."""
        return f"FCOS of {self.layers} layer{'s' * (self.layers != 1)}"
