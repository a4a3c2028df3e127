"""Steps of towers whose batch norms differ by level; their convolutions may be separable.

EfficientDet's, arXiv:1911.09070: the convolutions are the same at each level, the norms are not.
"""

from typing import Any, Literal

from torch import Tensor, nn

from search_spaces.blocks.block import ACTIVATIONS, ActivationName, Conventions
from search_spaces.blocks.convolution import batch_norm, convolution

ConvolutionName = Literal["full", "separable"]


class SeparableConvolution(nn.Module):
    """A depthwise 3 x 3, then a 1 x 1 with a bias; the map keeps its size."""

    def __init__(self, in_channels: int, out_channels: int, conventions: Conventions) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.depthwise = convolution(
            in_channels, in_channels, 3, groups=in_channels, conventions=conventions
        )
        self.pointwise = convolution(in_channels, out_channels, bias=True, conventions=conventions)

    def forward(self, x: Tensor) -> Tensor:
        """The map."""
        return self.pointwise(self.depthwise(x))


class TowerStep(nn.Module):
    """A 3 x 3 convolution with a bias, the level's batch norm (if `levels` is not 0), activation.

    (N, C_in, H, W) -> (N, C_out, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        convolution_kind: ConvolutionName,
        levels: int,
        activation: ActivationName,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        self.conv: nn.Module
        if convolution_kind == "separable":
            self.conv = SeparableConvolution(in_channels, out_channels, conventions)
        else:
            self.conv = convolution(
                in_channels, out_channels, 3, bias=True, conventions=conventions
            )
        self.norms = nn.ModuleList(batch_norm(out_channels, conventions) for _ in range(levels))
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """The map, as at the first level."""
        return self.at(x, 0)

    def at(self, x: Tensor, level: int) -> Tensor:
        """The map at the level of this number."""
        x = self.conv(x)
        return self.activation(self.norms[level](x) if len(self.norms) else x)


class Tower(nn.Module):
    """Steps one after another, on each level."""

    def __init__(self, steps: list[Any]) -> None:
        super().__init__()
        self.steps: Any = nn.ModuleList(steps)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """The levels after the last step."""
        found = []
        for i, x in enumerate(levels):
            for step in self.steps:
                x = step.at(x, i)
            found.append(x)
        return found
