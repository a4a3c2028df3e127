"""Highway layers: y = H(x) T(x) + x (1 - T(x)).

Srivastava et al., arXiv:1505.00387 and arXiv:1507.06228, section 2.
"""

from typing import Literal

import torch
from pydantic import FiniteFloat
from torch import Tensor, nn

from search_spaces.blocks.block import ActivationName, Block, Conventions, KernelSize, Layer
from search_spaces.blocks.convolution import (
    ConvolutionLayer,
    NormName,
    convolution,
    convolution_layer,
)
from search_spaces.blocks.window import square


class Highway(Block):
    """Two k x k convolutions of equal size, the transform H and the gate T = sigmoid(conv + bias).

    `gate_bias` is the start value of the gate's bias. With a negative one the layer at first passes
    its input through. In the module it is a constant, added to a learned bias that starts at 0. If
    the shape changes, the layer is a plain convolution, as in the papers.
    """

    kind: Literal["highway"] = "highway"
    """The name of the block family."""
    kernel_size: KernelSize = 3
    """Side of both kernels, an odd number."""
    gate_bias: FiniteFloat = -2.0
    """Where the gate's bias starts. A negative value lets the input through at first."""
    activation: ActivationName = "relu"
    """The activation function."""
    norm: NormName = "none"
    """What normalises the convolutions."""

    def layer(self, in_channels: int, channels: int, stride: int) -> Layer:
        """A highway layer, or a plain convolution if the shape changes."""
        if stride > 1 or in_channels != channels:
            return convolution_layer(
                in_channels,
                channels,
                kernel_size=self.kernel_size,
                stride=stride,
                activation=self.activation,
                norm=self.norm,
                bias=self.norm == "none",
            )
        return Layer(
            HighwayLayer,
            in_channels,
            channels,
            arguments=self.pairs("kernel_size", "gate_bias", "activation", "norm"),
            paths=((square(self.kernel_size),), ()),
        )

    def describe(self) -> str:
        """As `Highway, k3x3, gate -2`."""
        return f"Highway, k{self.kernel_size}x{self.kernel_size}, gate {self.gate_bias:g}"


class HighwayLayer(nn.Module):
    """y = H(x) T(x) + x (1 - T(x)); (N, C, H, W) -> (N, C, H, W)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        kernel_size: int,
        gate_bias: float,
        activation: ActivationName,
        norm: NormName,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        assert stride == 1
        assert in_channels == out_channels
        self.transform = ConvolutionLayer(
            in_channels,
            out_channels,
            kernel_size=kernel_size,
            activation=activation,
            norm=norm,
            bias=norm == "none",
            conventions=conventions,
        )
        self.gate = convolution(
            in_channels, out_channels, kernel_size, bias=True, conventions=conventions
        )
        self.gate_bias = gate_bias

    def forward(self, x: Tensor) -> Tensor:
        """The gate's mix of transform and input."""
        gate = torch.sigmoid(self.gate(x) + self.gate_bias)
        return self.transform(x) * gate + x * (1.0 - gate)

    def extra_repr(self) -> str:
        """The start value of the gate's bias, for printing."""
        return f"gate_bias={self.gate_bias:g}"
