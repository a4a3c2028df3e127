"""DeepLab v3's head: dilated convolutions side by side on the last map, then scores.

Chen et al., arXiv:1706.05587, as in torchvision.
"""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, fx, nn

from search_spaces.blocks.block import ActivationName, Channels, Conventions, Layer
from search_spaces.blocks.convolution import ConvolutionLayer
from search_spaces.blocks.window import dilated, square
from search_spaces.heads.head import PixelHead, Row, Tap, fitted


class DeepLabHead(PixelHead):
    """A 1 x 1, a 3 x 3 of each rate and the map's mean; a 1 x 1 joins them; then 3 x 3, scores."""

    grows: ClassVar = ("channels",)
    kind: Literal["deeplab"]
    """The kind of head."""
    channels: Channels = 256
    """Width of every convolution but the last."""
    rates: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (12, 24, 36)
    """Dilations of the 3 x 3 convolutions side by side."""
    norm: Literal["batch_norm"] = "batch_norm"
    """What normalises its convolutions."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout rate after the 1 x 1 that joins them."""

    def read(self, maps: list[Tap]) -> list[Tap]:
        """The last map."""
        return self.taps(maps)[-1:]

    def rows(self, maps: list[Tap], num_classes: int) -> list[Row]:
        """`pyramid`, `step`, `scores`."""
        (tap,) = self.read(maps)
        rates = [(square(dilated(3, rate)),) for rate in self.rates]
        pyramid = Layer(
            AtrousPyramid,
            tap.channels,
            self.channels,
            arguments=self.pairs("rates", "activation"),
            paths=((), *rates),
        )
        return [
            Row("head.pyramid", pyramid, at=tap.at),
            Row("head.step", self.convolution(self.channels, self.channels, 3), at=tap.at),
            Row("head.scores", self.scores(self.channels, num_classes), at=tap.at),
        ]

    def assembled(self, layers: dict[str, nn.Module]) -> nn.Module:
        """The module `DeepLab`."""
        return DeepLab(layers, dropout=self.dropout)

    def describe(self) -> str:
        """As `DeepLab, rates 12, 24, 36`."""
        return f"DeepLab, rates {', '.join(map(str, self.rates))}"


# torch.fx cannot trace what looks at sizes; it records the call as one step.
fx.wrap("fitted")


class DeepLab(nn.Module):
    """The module of `DeepLabHead`: [map] -> (N, num_classes, height, width)."""

    def __init__(self, layers: dict[str, nn.Module], *, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        """The scores of each pixel."""
        x = self.dropout(self.layers["pyramid"](maps[-1]))
        return fitted(self.layers["scores"](self.layers["step"](x)), size, "bilinear")


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        rates: tuple[int, ...],
        activation: ActivationName,
        conventions: Conventions,
    ) -> None:
        super().__init__()

        def conv(inputs: int, kernel_size: int, dilation: int = 1) -> nn.Module:
            return ConvolutionLayer(
                inputs,
                out_channels,
                kernel_size=kernel_size,
                dilation=dilation,
                activation=activation,
                conventions=conventions,
            )

        self.branches = nn.ModuleList([conv(in_channels, 1)])
        self.branches.extend(conv(in_channels, 3, rate) for rate in rates)
        self.mean = conv(in_channels, 1)
        self.join = conv(out_channels * (len(rates) + 2), 1)

    def forward(self, x: Tensor) -> Tensor:
        """The branches side by side, joined."""
        mean = self.mean(x.mean((2, 3), keepdim=True)).expand(-1, -1, x.shape[2], x.shape[3])
        return self.join(torch.cat([*(branch(x) for branch in self.branches), mean], dim=1))
