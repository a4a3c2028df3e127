"""Boxes in two stages (Faster R-CNN): first regions with an object, then the class of each.

Ren et al., arXiv:1506.01497, on a pyramid, as in torchvision, with torchvision's modules.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import nn

from search_spaces.blocks.block import Channels
from search_spaces.heads.given import Pooling, region_heads, region_row
from search_spaces.heads.head import Row
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
from search_spaces.heads.two_stage import TwoStage


class Proposals(BoxPredictor):
    """Faster R-CNN: convolutions that propose regions, and fully connected layers on each.

    Its FLOPs count the second stage `count` times, the most regions that an image can have.
    """

    grows: ClassVar = ("widths",)
    farthest: ClassVar = ("region_",)  # the first stage; the second sees its regions
    kind: Literal["proposals"]
    """The kind of predictor."""
    layers: Layers = 1
    """How many 3 x 3 convolutions stand before the scores of regions."""
    size: AnchorSize = 8.0
    """Side of the square anchor, in strides of its level."""
    ratios: Ratios = (0.5, 1.0, 2.0)
    """Height over width of the anchors."""
    count: Count = 1000
    """The most regions of an image that the second stage reads. In training there are twice as
    many, and 512 of them are drawn."""
    pool: Channels = 7
    """Side in pixels to which a region's map is resampled."""
    widths: Annotated[tuple[Channels, ...], Field(min_length=1)] = (1024, 1024)
    """Widths of the fully connected layers of the second stage, in order."""
    pooling: Pooling = "align"
    """How a region's map is made: RoI align, or the maximum of each part (RoI pool, one level)."""
    score_threshold: Share = 0.05
    """Boxes with a lower score are left out."""
    nms_iou: Share = 0.5
    """Of two boxes of one class that overlap more than this, the one with the lower score goes."""
    detections: Count = 100
    """The most boxes of an image."""

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `pooling` if it is `align`, so that keys from before that field stay valid."""
        told = handler(self)
        return {k: v for k, v in told.items() if (k, v) != ("pooling", "align")}

    def rows(self, levels: Levels, num_classes: int) -> list[Row]:
        """`region_<i>`, `region_scores`, `region_sides` at each level, `box` once a region."""
        each = len(self.ratios)
        return [
            *(levels.row(f"region_{i}", levels.channels, norm="none") for i in range(self.layers)),
            levels.scores("region_scores", each, kernel_size=1),
            levels.scores("region_sides", 4 * each, kernel_size=1),
            region_row(self, levels, num_classes),
        ]

    def assembled(
        self, pyramid: Neck, layers: dict[str, nn.Module], strides: tuple[int, ...]
    ) -> nn.Module:
        """torchvision's region proposals and region heads on our layers."""
        from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

        first = RPNHead(pyramid.out_channels, scores_given(layers["region_scores"]), conv_depth=0)
        first.conv = nn.Sequential(*(layers[f"region_{i}"] for i in range(self.layers)))
        first.cls_logits = layers["region_scores"]
        first.bbox_pred = layers["region_sides"]
        most = {"training": 2 * self.count, "testing": self.count}
        regions = RegionProposalNetwork(
            anchor_generator(strides, self.size, self.ratios, octaves=1),
            first,
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n=most,
            post_nms_top_n=most,
            nms_thresh=0.7,
        )
        boxes = region_heads(self, pyramid, layers)
        return TwoStage(pyramid, regions, boxes, count=self.count)

    def describe(self) -> str:
        """As `Faster R-CNN of 1,000 proposals`."""
        return f"Faster R-CNN of {self.counted}"

    @property
    def counted(self) -> str:
        """As `1,000 proposals`."""
        return f"{self.count:,} proposal{'s' * (self.count != 1)}"
