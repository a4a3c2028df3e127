"""Predictors on the body's last map, unchanged, as in Fast R-CNN (arXiv:1504.08083)."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from search_spaces.blocks.block import Channels
from search_spaces.heads.fpn import PyramidHead
from search_spaces.heads.head import Row, Tap
from search_spaces.heads.predictor import Levels, width_read
from search_spaces.heads.pyramid import Neck


class MapHead(PyramidHead):
    """A predictor on the last map of the body, which keeps its width."""

    kind: Literal["map"]
    """The kind of head."""
    channels: Annotated[int, Field(ge=0, le=0)] = 0
    """Always 0: the level is as wide as the body's last map."""
    levels: Annotated[tuple[Channels, ...], Field(min_length=1, max_length=1)]
    """The stride of the body's last map, as a list of one."""

    def neck(self, taps: list[Tap], levels: Levels) -> list[Row]:
        """None."""
        return []

    def pyramid(self, layers: dict[str, nn.Module]) -> tuple[Neck, dict[str, nn.Module]]:
        """`LastMap`."""
        return LastMap(self.levels, width_read(next(iter(layers.values())))), layers

    def way(self, rows: list[Row]) -> list[Row]:
        """None."""
        return []

    def describe(self) -> str:
        """The predictor's."""
        return self.predictor.describe()


class LastMap(Neck):
    """The body's map, as it is."""

    def __init__(self, levels: tuple[int, ...], out_channels: int) -> None:
        super().__init__(levels, out_channels)
        self.lateral = list(levels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The same."""
        return maps
