"""Detectors on a feature pyramid (FPN): levels of one width, and a predictor of boxes on them.

Lin et al., arXiv:1612.03144, as torchvision has it.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch import nn

from search_spaces.blocks.block import Channels, Layer, Widening
from search_spaces.blocks.convolution import NormName, convolution_layer
from search_spaces.heads.anchors import Anchors
from search_spaces.heads.head import DenseHead, Row, Tap, Task, told_strides
from search_spaces.heads.points import Points
from search_spaces.heads.predictor import Levels
from search_spaces.heads.proposals import Proposals
from search_spaces.heads.pyramid import Beyond, Pyramid

AnyPredictor = Annotated[Points | Anchors | Proposals, Field(discriminator="kind")]


class FPNHead(DenseHead):
    """A 1 x 1 from each map of the body, sums from coarse to fine, a 3 x 3 at each level; boxes.

    Levels at larger strides than the body has follow by halving the coarsest one.
    """

    task: ClassVar[Task] = "detection"
    grows: ClassVar = ("channels",)
    kind: Literal["fpn"]
    """The kind of head."""
    channels: Channels = 256
    """Width of every level."""
    levels: Annotated[tuple[Channels, ...], Field(min_length=1)]
    """Strides of the levels, each twice the one before. The body's last stride is among them."""
    beyond: Beyond = "convolution"
    """What makes the levels beyond the body's last stride: convolutions of stride 2, or pools."""
    norm: NormName = "none"
    """What normalises the pyramid's convolutions. `none` gives them a bias instead."""
    predictor: AnyPredictor
    """What makes boxes of the levels, named by its `kind`."""

    @model_validator(mode="after")
    def _levels_double(self) -> Self:
        if any(b != 2 * a for a, b in pairwise(self.levels)):
            raise ValueError(
                f"levels must be strides, each twice the one before, but got {list(self.levels)}"
            )
        return self

    def read(self, maps: list[Tap]) -> list[Tap]:
        """The maps at the strides of its levels, finest first; ValueError for one there is not."""
        taps = self.taps(maps)
        found = [tap for tap in taps if tap.stride in self.levels]
        last = taps[-1].stride
        for stride in self.levels:
            if stride <= last and stride not in [tap.stride for tap in found]:
                raise ValueError(
                    f"head: levels names stride {stride}, but the body has {told_strides(taps)}"
                )
        if last not in self.levels:
            raise ValueError(
                f"head: levels must hold the body's last stride, {last}, or what stands there does "
                f"nothing; but it is {list(self.levels)}"
            )
        return found

    def rows(self, maps: list[Tap], num_classes: int) -> list[Row]:
        """`lateral_<stride>`, `level_<stride>`, then the predictor's."""
        taps, width = self.read(maps), self.channels
        rows = [
            Row(f"head.lateral_{tap.stride}", self._plain(tap.channels, 1), at=tap.at)
            for tap in taps
        ]
        rows += [Row(f"head.level_{tap.stride}", self._plain(width, 3), at=tap.at) for tap in taps]
        last = taps[-1].at
        further = self.levels[len(taps) :]
        if self.beyond == "convolution":
            rows += [
                Row(f"head.level_{stride}", self._plain(width, 3, stride=2), at=last + i)
                for i, stride in enumerate(further)
            ]
        numbers = (*(tap.at for tap in taps), *(last + 1 + i for i in range(len(further))))
        levels = Levels(width, numbers, self.levels, self.activation)
        return [*rows, *self.predictor.rows(levels, num_classes)]

    def _plain(self, in_channels: int, kernel_size: int, *, stride: int = 1) -> Layer:
        return convolution_layer(
            in_channels,
            self.channels,
            kernel_size=kernel_size,
            stride=stride,
            activation="none",
            norm=self.norm,
            bias=self.norm == "none",
        )

    def farthest(self, rows: list[Row]) -> list[Row]:
        """The way to the coarsest level, and a tower of the predictor on it."""
        own = [row for row in rows if row.part.startswith(("head.lateral_", "head.level_"))]
        last = max(row.at or 0 for row in own if row.part.startswith("head.lateral_"))
        tower = tuple(f"head.{name}" for name in self.predictor.farthest())
        return [
            *(row for row in own if (row.at or 0) >= last),
            *(
                row._replace(at=max(row.also, default=row.at))
                for row in rows
                if row.part.startswith(tower)
            ),
        ]

    def assembled(self, layers: dict[str, nn.Module]) -> nn.Module:
        """The predictor's module, with the pyramid in it."""
        own = {n: layer for n, layer in layers.items() if n.startswith(("lateral_", "level_"))}
        rest = {name: layer for name, layer in layers.items() if name not in own}
        pyramid = Pyramid(own, self.levels, self.channels)
        return self.predictor.assembled(pyramid, rest, self.levels)

    def widen(self, width: Widening) -> Self:
        """A copy with the levels' width and the predictor's widths mapped by `width`."""
        return super().widen(width).replace(predictor=self.predictor.widen(width))

    def deepen(self, layers: Callable[[int], int]) -> Self:
        """A copy whose predictor has as many layers as `layers` maps its own to."""
        return self.replace(predictor=self.predictor.deepen(layers))

    @property
    def counted(self) -> str:
        """How often the predictor's second stage is counted; empty where it has none."""
        return self.predictor.counted

    def describe(self) -> str:
        """As `FPN of 5 levels, FCOS of 4 layers`."""
        return f"FPN of {len(self.levels)} levels, {self.predictor.describe()}"
