"""Feature pyramids (FPN): levels of one width, and a predictor of boxes or of pixels on them.

Lin et al., arXiv:1612.03144, as in torchvision.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch import nn

from search_spaces.blocks.block import Channels, Layer, Widening
from search_spaces.blocks.convolution import NormName, convolution_layer
from search_spaces.heads.anchors import Anchors
from search_spaces.heads.given import Given
from search_spaces.heads.head import DenseHead, Row, Tap, Task, told_strides
from search_spaces.heads.pixels import Pixels
from search_spaces.heads.points import Points
from search_spaces.heads.predictor import BoxPredictor, Levels
from search_spaces.heads.proposals import Proposals
from search_spaces.heads.pyramid import Beyond, Neck, Pyramid

AnyPredictor = Annotated[Points | Anchors | Proposals | Given | Pixels, Field(discriminator="kind")]


class PyramidHead(DenseHead):
    """A head that makes levels of one width from the body's maps, and boxes or masks from these."""

    grows: ClassVar = ("channels",)
    channels: Channels
    """Width of every level."""
    levels: Annotated[tuple[Channels, ...], Field(min_length=1)]
    """Strides of the levels, each twice the one before. The body's last stride is among them."""
    predictor: AnyPredictor
    """What makes boxes or masks from the levels, named by its `kind`."""

    @model_validator(mode="after")
    def _levels_double(self) -> Self:
        if any(b != 2 * a for a, b in pairwise(self.levels)):
            raise ValueError(
                f"levels must be strides, each twice the one before, but got {list(self.levels)}"
            )
        return self

    @property
    def task(self) -> Task:
        """What the network does, by its predictor."""
        return self.predictor.task

    @property
    def boxes(self) -> BoxPredictor:
        """The predictor of a head that finds boxes."""
        assert isinstance(self.predictor, BoxPredictor)
        return self.predictor

    def read(self, maps: list[Tap]) -> list[Tap]:
        """The maps at the strides of its levels, finest first; ValueError for a missing one."""
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
                f"head: levels must hold the body's last stride, {last}, or the layers there have "
                f"no effect; but levels is {list(self.levels)}"
            )
        return found

    def rows(self, maps: list[Tap], num_classes: int) -> list[Row]:
        """The pyramid's layers, then the predictor's."""
        taps = self.read(maps)
        further = range(1, len(self.levels) - len(taps) + 1)
        numbers = (*(tap.at for tap in taps), *(taps[-1].at + i for i in further))
        width = self.channels or taps[-1].channels  # 0 is the body's
        levels = Levels(width, numbers, self.levels, self.activation)
        return [*self.neck(taps, levels), *self.predictor.rows(levels, num_classes)]

    def neck(self, taps: list[Tap], levels: Levels) -> list[Row]:
        """The layers that make the levels from the maps."""
        raise NotImplementedError

    def pyramid(self, layers: dict[str, nn.Module]) -> tuple[Neck, dict[str, nn.Module]]:
        """The module that makes the levels, and the layers that are not in it."""
        raise NotImplementedError

    def way(self, rows: list[Row]) -> list[Row]:
        """The pyramid's layers on the way to the coarsest level."""
        raise NotImplementedError

    def farthest(self, rows: list[Row]) -> list[Row]:
        """The way to the coarsest level, and a tower of the predictor on it."""
        tower = tuple(f"head.{name}" for name in self.predictor.farthest)
        on_it = [
            row._replace(at=max(row.also, default=row.at))
            for row in rows
            if row.part.startswith(tower)
        ]
        return [*self.way(rows), *on_it]

    def assembled(self, layers: dict[str, nn.Module]) -> nn.Module:
        """The predictor's module, with the pyramid in it."""
        pyramid, rest = self.pyramid(layers)
        return self.predictor.assembled(pyramid, rest, self.levels)

    def widen(self, width: Widening) -> Self:
        """A copy with the levels' width and the predictor's widths mapped by `width`."""
        return super().widen(width).replace(predictor=self.predictor.widen(width))

    def deepen(self, layers: Callable[[int], int]) -> Self:
        """A copy with the layers of the pyramid and of the predictor mapped by `layers`."""
        return super().deepen(layers).replace(predictor=self.predictor.deepen(layers))

    @property
    def counted(self) -> str:
        """How often the predictor's second stage is counted; empty if it has none."""
        return self.predictor.counted


class FPNHead(PyramidHead):
    """A 1 x 1 from each map of the body, sums from coarse to fine, a 3 x 3 at each level.

    With a predictor of pixels, the predictor has that 3 x 3.
    Levels at larger strides than the body's are made by halving the coarsest one.
    """

    kind: Literal["fpn"]
    """The kind of head."""
    channels: Channels = 256
    """Width of every level."""
    beyond: Beyond = "convolution"
    """What makes the levels beyond the body's last stride: convolutions of stride 2, or pools."""
    norm: NormName = "none"
    """What normalises the pyramid's convolutions. `none` gives them a bias instead."""

    def neck(self, taps: list[Tap], levels: Levels) -> list[Row]:
        """`lateral_<stride>` for each map, `level_<stride>` for each level."""
        width, last = self.channels, taps[-1].at
        rows = [
            Row(f"head.lateral_{tap.stride}", self._plain(tap.channels, 1), at=tap.at)
            for tap in taps
        ]
        if self.task == "detection":
            rows += [
                Row(f"head.level_{tap.stride}", self._plain(width, 3), at=tap.at) for tap in taps
            ]
        if self.beyond == "convolution":
            rows += [
                Row(f"head.level_{stride}", self._plain(width, 3, stride=2), at=last + i)
                for i, stride in enumerate(self.levels[len(taps) :])
            ]
        return rows

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

    def pyramid(self, layers: dict[str, nn.Module]) -> tuple[Neck, dict[str, nn.Module]]:
        """`Pyramid`."""
        own = {n: layer for n, layer in layers.items() if n.startswith(("lateral_", "level_"))}
        rest = {name: layer for name, layer in layers.items() if name not in own}
        return Pyramid(own, self.levels, self.channels), rest

    def way(self, rows: list[Row]) -> list[Row]:
        """From the coarsest map of the body on."""
        own = [row for row in rows if row.part.startswith(("head.lateral_", "head.level_"))]
        last = max(row.at or 0 for row in own if row.part.startswith("head.lateral_"))
        return [row for row in own if (row.at or 0) >= last]

    def describe(self) -> str:
        """As `FPN of 5 levels, FCOS of 4 layers`."""
        return f"FPN of {len(self.levels)} levels, {self.predictor.describe()}"
