"""Convolution, batch norm, activation: the stem and the tail of every network here."""

from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from search_spaces.blocks.block import (
    ACTIVATIONS,
    ActivationName,
    Block,
    Conventions,
    KernelSize,
    Layer,
)


class Convolution(Block):
    """A k x k convolution, batch norm and an activation."""

    kind: Literal["conv"] = "conv"
    kernel_size: KernelSize
    activation: ActivationName = "silu"

    def layer(self, in_channels: int, channels: int, stride: int) -> Layer:
        arguments = (("kernel_size", self.kernel_size), ("activation", self.activation))
        return Layer(ConvolutionLayer, in_channels, channels, stride=stride, arguments=arguments)

    def describe(self) -> str:
        return f"Conv{self.kernel_size}x{self.kernel_size}"


class SameConv2d(nn.Conv2d):
    """TensorFlow's SAME padding: out = ceil(n / s), the odd pixel goes to the bottom and right."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []  # last dimension first, as functional.pad wants them
        for size, kernel, stride in zip(
            reversed(x.shape[2:]), reversed(self.kernel_size), reversed(self.stride), strict=True
        ):
            total = max((-(-int(size) // stride) - 1) * stride + kernel - int(size), 0)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(
            functional.pad(x, pads), self.weight, self.bias, self.stride, 0, 1, self.groups
        )


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    *,
    conventions: Conventions,
    stride: int = 1,
    groups: int = 1,
) -> nn.Conv2d:
    """A convolution without bias whose output side is ceil(n / stride), padded by convention."""
    arguments: dict[str, Any] = {"stride": stride, "groups": groups, "bias": False}
    if conventions.padding == "same" and stride > 1:  # at stride 1 the two paddings are one
        return SameConv2d(in_channels, out_channels, kernel_size, **arguments)
    arguments["padding"] = kernel_size // 2
    return nn.Conv2d(in_channels, out_channels, kernel_size, **arguments)


def batch_norm(channels: int, conventions: Conventions) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(
        channels, eps=conventions.batch_norm_eps, momentum=conventions.batch_norm_momentum
    )


class ConvolutionLayer(nn.Module):
    """conv, BN, activation; (N, C_in, H, W) -> (N, C_out, ceil(H/stride), ceil(W/stride))."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        stride: int,
        activation: ActivationName,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        self.conv = convolution(
            in_channels, out_channels, kernel_size, stride=stride, conventions=conventions
        )
        self.norm = batch_norm(out_channels, conventions)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))
