"""Boxes from anchors (RetinaNet): scores of the classes and four changes for each anchor.

Lin et al., arXiv:1708.02002. The losses and the filtering of boxes are torchvision's.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch import nn

from search_spaces.heads.head import Row
from search_spaces.heads.one_stage import OneStage
from search_spaces.heads.predictor import (
    AnchorSize,
    BoxPredictor,
    Count,
    Layers,
    Levels,
    Ratios,
    Share,
    anchor_generator,
    scores_given,
)
from search_spaces.heads.pyramid import Neck
from search_spaces.heads.tower import ConvolutionName, Tower


class Anchors(BoxPredictor):
    """RetinaNet: a tower of convolutions for classes and one for boxes, the same at each level."""

    farthest: ClassVar = ("class_",)  # the tower of classes
    kind: Literal["anchors"]
    """The kind of predictor."""
    layers: Layers = 4
    """How many 3 x 3 convolutions stand before the scores."""
    convolution: ConvolutionName = "full"
    """`full` is a 3 x 3; `separable` is a depthwise 3 x 3 and a 1 x 1, as in EfficientDet."""
    norm: Literal["group_norm", "batch_norm", "none"] = "none"
    """What normalises them: group norm, in groups of 8 channels or more; batch norm, another one at
    each level; or nothing."""
    size: AnchorSize = 4.0
    """Side of the smallest square anchor, in strides of its level."""
    octaves: Annotated[int, Field(ge=1)] = 3
    """How many sizes there are from `size` to twice `size`, as 32, 40 and 50 px at stride 8."""
    ratios: Ratios = (0.5, 1.0, 2.0)
    """Height over width of the anchors of each size."""
    score_threshold: Share = 0.05
    """Boxes with a lower score are left out."""
    nms_iou: Share = 0.5
    """Of two boxes of one class that overlap more than this, the one with the lower score goes."""
    detections: Count = 300
    """The most boxes of an image."""

    @property
    def each(self) -> int:
        """How many anchors a place has."""
        return self.octaves * len(self.ratios)

    def rows(self, levels: Levels, num_classes: int) -> list[Row]:
        """`class_<i>`, `class_scores`, `box_<i>`, `box_sides`."""
        classes, boxes = self.each * num_classes, self.each * 4
        return [
            *self._tower("class", levels),
            self._scores("class_scores", levels, classes),
            *self._tower("box", levels),
            self._scores("box_sides", levels, boxes),
        ]

    def _tower(self, of: str, levels: Levels) -> list[Row]:
        names, width = [f"{of}_{i}" for i in range(self.layers)], levels.channels
        if self.norm == "batch_norm":
            return [levels.step(name, width, convolution=self.convolution) for name in names]
        return [levels.row(name, width, norm=self.norm) for name in names]

    def _scores(self, name: str, levels: Levels, channels: int) -> Row:
        if self.convolution == "full":
            return levels.scores(name, channels)
        return levels.step(name, channels, convolution="separable", norm=False, activation="none")

    @model_validator(mode="after")
    def _norm_fits(self) -> Self:
        if self.convolution == "separable" and self.norm != "batch_norm":
            raise ValueError(
                f"norm must be batch_norm if convolution is separable, but got {self.norm}"
            )
        return self

    def assembled(
        self, pyramid: Neck, layers: dict[str, nn.Module], strides: tuple[int, ...]
    ) -> nn.Module:
        """torchvision's RetinaNet on our layers."""
        from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead

        classes, boxes = (
            [layers[f"{of}_{i}"] for i in range(self.layers)] for of in ("class", "box")
        )
        towers = [Tower(classes), Tower(boxes)] if self.norm == "batch_norm" else []
        num_classes = scores_given(layers["class_scores"]) // self.each
        head = RetinaNetHead(pyramid.out_channels, self.each, num_classes)
        head.classification_head.conv = nn.Sequential(*([] if towers else classes))
        head.classification_head.cls_logits = layers["class_scores"]
        head.regression_head.conv = nn.Sequential(*([] if towers else boxes))
        head.regression_head.bbox_reg = layers["box_sides"]
        detector = RetinaNet(
            pyramid,
            num_classes,
            anchor_generator=anchor_generator(strides, self.size, self.ratios, self.octaves),
            head=head,
            score_thresh=self.score_threshold,
            nms_thresh=self.nms_iou,
            detections_per_img=self.detections,
        )
        return OneStage(detector, towers)

    def describe(self) -> str:
        """As `RetinaNet of 4 layers`."""
        return f"RetinaNet of {self.layers} layer{'s' * (self.layers != 1)}"
