"""Boxes of given regions (Fast R-CNN): the class of each region, and its exact box.

Girshick, arXiv:1504.08083. The losses and the filtering of boxes are torchvision's.
"""

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from search_spaces.blocks.block import Channels, Layer
from search_spaces.blocks.window import square
from search_spaces.heads.head import Row
from search_spaces.heads.predictor import BoxPredictor, Count, Levels, Share
from search_spaces.heads.pyramid import Neck
from search_spaces.heads.two_stage import RegionScores, ScoresAndChanges, TwoStage

if TYPE_CHECKING:
    from search_spaces.heads.proposals import Proposals

Pooling = Literal["align", "max"]
Widths = Annotated[tuple[Channels, ...], Field(min_length=1)]


class Given(BoxPredictor):
    """Fast R-CNN: fully connected layers on each region; the caller gives the regions.

    `network(images, targets, regions)` takes them. The data that `scaler` reads have no regions,
    so it trains only from Python. Its FLOPs count the layers `count` times.
    """

    grows: ClassVar = ("widths",)
    farthest: ClassVar = ("box",)  # the layers on a region
    kind: Literal["given"]
    """The kind of predictor."""
    layers: Annotated[int, Field(ge=0, le=0)] = 0
    """Always 0: no layer comes before the regions are cut out."""
    count: Count = 2000
    """The most regions of an image; more are refused. In training 512 of them are drawn."""
    pool: Channels = 7
    """Side of a region's map, in pixels."""
    pooling: Pooling = "align"
    """How a region's map is made: RoI align, or the maximum of each part (RoI pool, one level)."""
    widths: Widths = (4096, 4096)
    """Widths of the fully connected layers, in order."""
    score_threshold: Share = 0.05
    """Boxes with a lower score are left out."""
    nms_iou: Share = 0.5
    """Of two boxes of one class that overlap more than this, the one with the lower score goes."""
    detections: Count = 100
    """The most boxes of an image."""

    def rows(self, levels: Levels, num_classes: int) -> list[Row]:
        """`box`, once a region."""
        return [region_row(self, levels, num_classes)]

    def assembled(
        self, pyramid: Neck, layers: dict[str, nn.Module], strides: tuple[int, ...]
    ) -> nn.Module:
        """torchvision's region heads on our layers."""
        return TwoStage(pyramid, None, region_heads(self, pyramid, layers), count=self.count)

    def describe(self) -> str:
        """As `Fast R-CNN of 2,000 given regions`."""
        return f"Fast R-CNN of {self.counted}"

    @property
    def counted(self) -> str:
        """As `2,000 given regions`."""
        return f"{self.count:,} given region{'s' * (self.count != 1)}"


def region_row(of: "Given | Proposals", levels: Levels, num_classes: int) -> Row:
    """The layers on a region; ValueError for RoI pool with several levels."""
    if of.pooling == "max" and len(levels.numbers) > 1:
        raise ValueError(
            f"head: pooling max takes regions from one level, but there are {len(levels.numbers)}: "
            f"give levels the body's last stride alone, or take pooling align"
        )
    second = Layer(
        RegionScores,
        levels.channels,
        num_classes + 1,  # the background comes first
        arguments=(("widths", of.widths), ("pool", of.pool)),
        paths=((square(of.pool),),),
    )
    return Row("head.box", second, at=levels.numbers[0], times=of.count)


def region_heads(of: "Given | Proposals", pyramid: Neck, layers: dict[str, nn.Module]) -> Any:
    """torchvision's RoIHeads on our layers."""
    from torchvision.models.detection.roi_heads import RoIHeads
    from torchvision.ops import MultiScaleRoIAlign

    # Only the first stage reads levels beyond the body's, as in arXiv:1612.03144.
    levels = [str(stride) for stride in pyramid.lateral]
    second = layers["box"]
    assert isinstance(second, RegionScores)
    align = MultiScaleRoIAlign(levels, output_size=of.pool, sampling_ratio=2)
    return RoIHeads(
        align if of.pooling == "align" else MaximumOfParts(of.pool),
        second,
        ScoresAndChanges(second.num_classes),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=512,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=of.score_threshold,
        nms_thresh=of.nms_iou,
        detections_per_img=of.detections,
    )


class MaximumOfParts(nn.Module):
    """RoI pool: the maximum of each of `side` x `side` parts of a region, on one map."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(
        self, maps: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]
    ) -> Tensor:
        """Maps by name, boxes and size of each image -> (all boxes, C, side, side)."""
        from torchvision.ops import roi_pool

        (x,) = maps.values()
        scale = 2.0 ** round(math.log2(x.shape[-2] / sizes[0][0]))  # as MultiScaleRoIAlign's
        pooled: Tensor = roi_pool(x, boxes, self.side, scale)
        return pooled
