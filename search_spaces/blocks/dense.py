"""Dense stages: every layer appends `growth` channels to its input.

Huang et al., arXiv:1608.06993.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from search_spaces.blocks.block import (
    ACTIVATIONS,
    ActivationName,
    Block,
    Channels,
    Conventions,
    Layer,
    Rate,
)
from search_spaces.blocks.convolution import batch_norm, convolution
from search_spaces.blocks.window import square


class Dense(Block):
    """BN-act-(1x1 conv-BN-act-)3x3 conv, concatenated to its input, `layers` times.

    A stage's `channels` are the input width of its first dense layer. The stage's output has
    channels + layers * growth. A transition comes first if the stage has a stride, or if the stage
    before has another width: BN-act-1x1 convolution to `channels`, average pool of the stride's
    size. The paper's compression is the ratio of these two widths. The 1x1 convolution of a dense
    layer has `bottleneck` * growth channels; 0 leaves it out.
    """

    grows: ClassVar = ("growth",)
    kind: Literal["dense"] = "dense"
    """The name of the block family."""
    growth: Channels
    """Channels that each layer adds."""
    bottleneck: Literal[0, 1, 2, 3, 4, 5, 6, 7, 8] = 4
    """Width of the 1x1 convolution over `growth`. 0 leaves it out."""
    activation: ActivationName = "relu"
    """The activation function."""
    dropout: Rate = 0.0
    """Dropout rate after each convolution of the dense layers."""

    def layers(self, in_channels: int, channels: int, layers: int, stride: int) -> list[Layer]:
        """Perhaps a transition, then dense layers, each `growth` channels wider."""
        resolved = []
        if stride > 1 or in_channels != channels:
            pool = (square(stride, stride, "valid"),) if stride > 1 else ()
            transition = Layer(
                TransitionLayer,
                in_channels,
                channels,
                stride=stride,
                arguments=self.pairs("activation", "dropout"),
                paths=(pool,),
            )
            resolved.append(transition)
        for _ in range(layers):
            resolved.append(self._dense(channels))
            channels += self.growth
        return resolved

    def _dense(self, in_channels: int) -> Layer:
        return Layer(
            DenseLayer,
            in_channels,
            in_channels + self.growth,
            arguments=(
                ("growth_channels", self.growth),
                ("bottleneck_channels", self.bottleneck * self.growth),
                *self.pairs("activation", "dropout"),
            ),
            paths=((square(3),), ()),
        )

    def describe(self) -> str:
        """As `Dense, k12, bottleneck`."""
        return f"Dense, k{self.growth}" + (", bottleneck" if self.bottleneck else "")


class DenseLayer(nn.Module):
    """The input with new channels appended; (N, C, H, W) -> (N, C + growth, H, W)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        growth_channels: int,
        bottleneck_channels: int,
        activation: ActivationName,
        dropout: float,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        assert stride == 1
        self.branch = nn.Sequential()
        inner = bottleneck_channels or in_channels
        for inputs, outputs, kernel_size in [
            *([(in_channels, inner, 1)] if bottleneck_channels else []),
            (inner, growth_channels, 3),
        ]:
            self.branch.append(batch_norm(inputs, conventions))
            self.branch.append(ACTIVATIONS[activation]())
            self.branch.append(convolution(inputs, outputs, kernel_size, conventions=conventions))
            if dropout:
                self.branch.append(nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """The input and the new channels."""
        return torch.cat([x, self.branch(x)], 1)


class TransitionLayer(nn.Sequential):
    """BN, act, 1x1 convolution, pool; (N, C_in, H, W) -> (N, C_out, H // stride, W // stride)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        activation: ActivationName,
        dropout: float,
        conventions: Conventions,
    ) -> None:
        super().__init__(
            batch_norm(in_channels, conventions),
            ACTIVATIONS[activation](),
            convolution(in_channels, out_channels, conventions=conventions),
        )
        if dropout:
            self.append(nn.Dropout(dropout))
        if stride > 1:
            self.append(nn.AvgPool2d(stride))
