"""Dense stages: every layer adds `growth` channels to all that came before.

Huang et al., arXiv:1608.06993.
"""

from typing import Literal, Self

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
    Widening,
)
from search_spaces.blocks.convolution import batch_norm, convolution
from search_spaces.blocks.window import square


class Dense(Block):
    """BN-act-(1x1 conv-BN-act-)3x3 conv, concatenated to its input, `layers` times.

    A stage's `channels` are those its first dense layer gets; out of it come
    channels + layers * growth. Where they differ from what the stage before gives, or the stage
    strides, a transition comes first: BN-act-1x1 convolution to `channels`, average pool of the
    stride's size. The paper's compression is the ratio of the two widths. `bottleneck` is the
    1x1 convolution's width in growths, 0 for none.
    """

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
        resolved = []
        if stride > 1 or in_channels != channels:
            pool = (square(stride, stride, "valid"),) if stride > 1 else ()
            transition = Layer(
                TransitionLayer,
                in_channels,
                channels,
                stride=stride,
                arguments=(("activation", self.activation), ("dropout", self.dropout)),
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
                ("activation", self.activation),
                ("dropout", self.dropout),
            ),
            paths=((square(3),), ()),
        )

    def widen(self, width: Widening) -> Self:
        return self.replace(growth=width(self.growth))

    def describe(self) -> str:
        return f"Dense, k{self.growth}" + (", bottleneck" if self.bottleneck else "")


class DenseLayer(nn.Module):
    """(N, C, H, W) -> (N, C + growth, H, W)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,  # noqa: ARG002, in_channels + growth_channels
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
        act = ACTIVATIONS[activation]
        self.branch = nn.Sequential()
        if bottleneck_channels:
            self.branch.extend(
                [
                    batch_norm(in_channels, conventions),
                    act(),
                    convolution(in_channels, bottleneck_channels, conventions=conventions),
                    *([nn.Dropout(dropout)] if dropout else []),
                ]
            )
        inner = bottleneck_channels or in_channels
        self.branch.extend(
            [
                batch_norm(inner, conventions),
                act(),
                convolution(inner, growth_channels, 3, conventions=conventions),
                *([nn.Dropout(dropout)] if dropout else []),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.branch(x)], 1)


class TransitionLayer(nn.Sequential):
    """(N, C_in, H, W) -> (N, C_out, floor(H/stride), floor(W/stride))."""

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
