"""Pyramids that go both ways (BiFPN): from coarse to fine and back again, several times over.

Tan et al., arXiv:1911.09070, section 3 and figure 3.
"""

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.blocks.block import ACTIVATIONS, ActivationName, Channels, Conventions, Layer
from search_spaces.blocks.convolution import batch_norm, convolution_layer
from search_spaces.blocks.window import square
from search_spaces.heads.fpn import PyramidHead
from search_spaces.heads.head import Row, Tap, fitted
from search_spaces.heads.predictor import Levels
from search_spaces.heads.pyramid import Neck
from search_spaces.heads.tower import SeparableConvolution

Fusion = Literal["weighted", "sum"]
_EPSILON = 1e-4  # added to the sum of weights: section 3.3


class BiFPNHead(PyramidHead):
    """A pyramid of `layers` layers: each goes from the coarsest to the finest level and back.

    Each map of the body enters through one 1 x 1 for the way down and one for the way up. Joined
    maps pass a separable 3 x 3. Levels beyond the body's last stride are made by max-pools.
    """

    deepens: ClassVar = ("layers",)
    kind: Literal["bifpn"]
    """The kind of head."""
    channels: Channels = 64
    """Width of every level."""
    layers: Annotated[int, Field(ge=1)] = 3
    """How often the maps go down and up."""
    levels: Annotated[tuple[Channels, ...], Field(min_length=2)]
    """Strides of the levels, each twice the one before. The body's last stride is among them."""
    fusion: Fusion = "weighted"
    """How maps are joined: by trained weights whose sum is 1, or by a plain sum."""
    norm: Literal["batch_norm"] = "batch_norm"
    """What normalises its convolutions."""
    activation: ActivationName = "silu"
    """The activation function."""

    def neck(self, taps: list[Tap], levels: Levels) -> list[Row]:
        """`lateral_<stride>_<way>`, then for each layer `down_<i>_<stride>`, `up_<i>_<stride>`."""
        rows = []
        for tap in taps:
            for way in ("down", "up") if tap is not taps[0] else ("down",):
                name = f"head.lateral_{tap.stride}_{way}"
                rows.append(Row(name, self._lateral(tap.channels), at=tap.at))
        if len(self.levels) > len(taps):
            name = f"head.lateral_{self.levels[len(taps)]}"
            rows.append(Row(name, self._lateral(taps[-1].channels), at=taps[-1].at))
        placed = list(zip(self.levels, levels.numbers, strict=True))
        for i in range(self.layers):
            for stride, number in reversed(placed[:-1]):
                rows.append(Row(f"head.down_{i}_{stride}", self._node(2), at=number))
            for stride, number in placed[1:]:
                maps = 2 if stride == self.levels[-1] else 3
                rows.append(Row(f"head.up_{i}_{stride}", self._node(maps), at=number))
        return rows

    def _lateral(self, in_channels: int) -> Layer:
        """1 x 1 with batch norm and a bias too, as in the authors' code."""
        return convolution_layer(
            in_channels, self.channels, kernel_size=1, activation="none", bias=True
        )

    def _node(self, maps: int) -> Layer:
        weights = maps if self.fusion == "weighted" else 0
        arguments = (("weights", weights), ("activation", self.activation))
        paths = ((square(3),),)
        return Layer(Node, self.channels, self.channels, arguments=arguments, paths=paths)

    def pyramid(self, layers: dict[str, nn.Module]) -> tuple[Neck, dict[str, nn.Module]]:
        """`BiFPN`."""
        begins = ("lateral_", "down_", "up_")
        own = {name: layer for name, layer in layers.items() if name.startswith(begins)}
        rest = {name: layer for name, layer in layers.items() if name not in own}
        return BiFPN(own, self.levels, self.channels, repeats=self.layers), rest

    def way(self, rows: list[Row]) -> list[Row]:
        """All nodes, in order: from coarse to fine and back."""
        return [row for row in rows if row.part.startswith(("head.down_", "head.up_"))]

    def describe(self) -> str:
        """As `BiFPN of 5 levels and 3 layers, RetinaNet of 3 layers`."""
        layers = f"{self.layers} layer{'s' * (self.layers > 1)}"
        return f"BiFPN of {len(self.levels)} levels and {layers}, {self.predictor.describe()}"


# torch.fx cannot trace what looks at sizes; it records the call as one step.
fx.wrap("fitted")


class Node(nn.Module):
    """`joined` makes one map of maps of one size; then activation, separable 3 x 3, batch norm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        weights: int,
        activation: ActivationName,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(weights)) if weights else None
        self.activation = ACTIVATIONS[activation]()
        self.conv = SeparableConvolution(in_channels, out_channels, conventions)
        self.norm = batch_norm(out_channels, conventions)

    def joined(self, maps: list[Tensor]) -> Tensor:
        """The weighted sum, or without weights the sum."""
        if self.weights is not None:
            weights = functional.relu(self.weights)
            shares = weights / (weights.sum() + _EPSILON)
            maps = [x * shares[i] for i, x in enumerate(maps)]
        first, *rest = maps
        return sum(rest, first)

    def forward(self, x: Tensor) -> Tensor:
        """The map behind the joined one."""
        return self.norm(self.conv(self.activation(x)))


class BiFPN(Neck):
    """Maps, finest first, -> as many maps of `out_channels` as levels, finest first."""

    def __init__(
        self,
        layers: dict[str, nn.Module],
        levels: tuple[int, ...],
        out_channels: int,
        *,
        repeats: int,
    ) -> None:
        super().__init__(levels, out_channels)
        self.layers = nn.ModuleDict(layers)
        self.lateral = [stride for stride in levels if f"lateral_{stride}_down" in layers]
        self.repeats = repeats

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The levels, finest first."""
        down, up = self._entered(maps)
        for i in range(self.repeats):
            down = up = self._layer(i, down, up)
        return [up[stride] for stride in self.levels]

    def _entered(self, maps: list[Tensor]) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """The body's maps as they enter on the way down and on the way up, by stride."""
        down: dict[int, Tensor] = {}
        up: dict[int, Tensor] = {}
        for stride, x in zip(self.lateral, maps, strict=True):
            for way, found in (("down", down), ("up", up)):
                if (name := f"lateral_{stride}_{way}") in self.layers:
                    found[stride] = self.layers[name](x)
        x = maps[-1]
        for stride in self.levels[len(self.lateral) :]:
            if (name := f"lateral_{stride}") in self.layers:
                x = self.layers[name](x)
            x = halved(x)
            down[stride] = up[stride] = x
        return down, up

    def _layer(self, i: int, down: dict[int, Tensor], up: dict[int, Tensor]) -> dict[int, Tensor]:
        """Once from coarse to fine and back."""
        finest, coarsest = self.levels[0], self.levels[-1]
        on_the_way = {coarsest: down[coarsest]}
        for stride in reversed(self.levels[:-1]):
            x, coarser = down[stride], on_the_way[2 * stride]
            coarser = fitted(coarser, (x.shape[-2], x.shape[-1]), "nearest")
            on_the_way[stride] = self._node(f"down_{i}_{stride}", [x, coarser])
        found = {finest: on_the_way[finest]}
        for stride in self.levels[1:]:
            joined = [up[stride], halved(found[stride // 2])]
            if stride != coarsest:
                joined.insert(1, on_the_way[stride])
            found[stride] = self._node(f"up_{i}_{stride}", joined)
        return found

    def _node(self, name: str, maps: list[Tensor]) -> Tensor:
        node: Any = self.layers[name]
        found: Tensor = node(node.joined(maps))
        return found


def halved(x: Tensor) -> Tensor:
    """A map of half the size, by a max-pool of 3 x 3."""
    return functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
