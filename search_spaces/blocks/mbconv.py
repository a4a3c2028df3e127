"""MBConv: the inverted residual with a depthwise convolution and squeeze-and-excitation.

MobileNetV2 (arXiv:1801.04381), MnasNet (arXiv:1807.11626), EfficientNet (arXiv:1905.11946).
"""

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn

from search_spaces.blocks.block import (
    ACTIVATIONS,
    ActivationName,
    Block,
    Channels,
    Conventions,
    KernelSize,
    Layer,
    round_channels,
)
from search_spaces.blocks.convolution import (
    ConvolutionLayer,
    batch_norm,
    convolution,
    convolution_layer,
)
from search_spaces.blocks.window import square


def _whole_if_it_can_be(ratio: float) -> float:
    """6.0 becomes 6, so that equal networks are written alike."""
    return int(ratio) if ratio == int(ratio) else ratio


class InvertedResidual(Block):
    """What MBConv and Fused-MBConv share. The expanded width is input channels * `expand_ratio`.

    For a fractional ratio the width is rounded to a multiple of 8, as in timm's and torchvision's
    MobileNetV3. `expanded_channels` gives the width itself, for every layer of the stage; it grows
    with the network's channels. A width equal to the input's is no expansion. `se_ratio` is
    relative to the layer's input channels, not to the expanded ones; 0 is no SE. There is an
    identity skip if stride is 1 and the channels are equal; `skip: none` removes it.
    """

    grows: ClassVar[tuple[str, ...]] = ("expanded_channels",)

    expand_ratio: (
        Annotated[int | float, Field(gt=0, le=16), AfterValidator(_whole_if_it_can_be)] | None
    ) = None
    """Expanded width over the input channels, at most 16. Either this or `expanded_channels`."""
    expanded_channels: Channels | None = None
    """The expanded width itself, as the column `exp size` of MobileNetV3's tables."""
    kernel_size: KernelSize
    """Side of the k x k kernel, an odd number."""
    se_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Squeeze-and-excitation: its width over the layer's input channels. 0 leaves it out."""
    activation: ActivationName = "silu"
    """The activation function."""
    skip: Literal["identity", "none"] = "identity"
    """`none` removes the identity connection."""

    @model_validator(mode="after")
    def _one_width(self) -> Self:
        if (self.expand_ratio is None) == (self.expanded_channels is None):
            given = "none" if self.expand_ratio is None else "both"
            raise ValueError(
                f"needs either expand_ratio, as 6, or expanded_channels, as 96, but got {given}"
            )
        return self

    def expanded(self, in_channels: int) -> int:
        """The expanded width behind `in_channels`."""
        if self.expand_ratio is None:
            assert self.expanded_channels is not None
            return self.expanded_channels
        if isinstance(self.expand_ratio, int):
            return in_channels * self.expand_ratio
        return round_channels(in_channels, self.expand_ratio)

    def _resolved(
        self, module: type[nn.Module], in_channels: int, channels: int, stride: int
    ) -> Layer:
        residual = self.skip == "identity" and stride == 1 and in_channels == channels
        squeezed = max(1, int(in_channels * self.se_ratio)) if self.se_ratio else 0
        return Layer(
            module,
            in_channels,
            channels,
            stride=stride,
            residual=residual,
            arguments=(
                ("expanded_channels", self.expanded(in_channels)),
                ("kernel_size", self.kernel_size),
                ("squeezed_channels", squeezed),
                ("activation", self.activation),
            ),
            paths=((square(self.kernel_size, stride),),),
        )

    def describe(self) -> str:
        """As `MBConv6, k5x5, SE 0.25`; with `expanded_channels` as `MBConv(96), k5x5`."""
        excitation = f", SE {self.se_ratio:g}" if self.se_ratio else ""
        ratio, width = self.expand_ratio, self.expanded_channels
        expansion = f"({width})" if ratio is None else f"{ratio:g}"
        return f"MBConv{expansion}, k{self.kernel_size}x{self.kernel_size}{excitation}"


class MBConv(InvertedResidual):
    """1x1 expansion, k x k depthwise convolution, SE, 1x1 projection."""

    kind: Literal["mbconv"] = "mbconv"
    """The name of the block family."""

    def layer(self, in_channels: int, channels: int, stride: int) -> Layer:
        """One MBConv."""
        return self._resolved(MBConvLayer, in_channels, channels, stride)


class FusedMBConv(InvertedResidual):
    """Fused-MBConv: one k x k convolution in place of the expansion and the depthwise one.

    EfficientNetV2 (arXiv:2104.00298, figure 2). Without expansion it has only that convolution.
    """

    kind: Literal["fused_mbconv"] = "fused_mbconv"
    """The name of the block family."""

    def layer(self, in_channels: int, channels: int, stride: int) -> Layer:
        """One Fused-MBConv; without expansion, SE and skip it is a plain convolution."""
        layer = self._resolved(FusedMBConvLayer, in_channels, channels, stride)
        if self.expanded(in_channels) == in_channels and not layer.residual and not self.se_ratio:
            return convolution_layer(
                in_channels,
                channels,
                kernel_size=self.kernel_size,
                stride=stride,
                activation=self.activation,
            )
        return layer

    def describe(self) -> str:
        """As `Fused-MBConv4, k3x3`."""
        return f"Fused-{super().describe()}"


class DepthwiseSeparable(Block):
    """Depthwise k x k and 1 x 1 convolution, each with batch norm and activation.

    MobileNetV1 (arXiv:1704.04861, figure 3).
    """

    kind: Literal["separable"] = "separable"
    """The name of the block family."""
    kernel_size: KernelSize = 3
    """Side of the depthwise kernel, an odd number."""
    activation: ActivationName = "relu"
    """The activation function."""

    def layers(self, in_channels: int, channels: int, layers: int, stride: int) -> list[Layer]:
        """Two layers, depthwise and pointwise, for each repeat."""
        first = self._pair(in_channels, channels, stride)
        return first + self._pair(channels, channels, 1) * (layers - 1)

    def _pair(self, in_channels: int, channels: int, stride: int) -> list[Layer]:
        depthwise = convolution_layer(
            in_channels,
            in_channels,
            kernel_size=self.kernel_size,
            stride=stride,
            activation=self.activation,
            groups=in_channels,
        )
        pointwise = convolution_layer(
            in_channels, channels, kernel_size=1, activation=self.activation
        )
        return [depthwise, pointwise]

    def describe(self) -> str:
        """As `DepthwiseSeparable, k3x3`."""
        return f"DepthwiseSeparable, k{self.kernel_size}x{self.kernel_size}"


class SqueezeExcitation(nn.Module):
    """x * sigmoid(W2 act(W1 mean(x))): channels weighted by the means of the whole map."""

    def __init__(self, channels: int, squeezed_channels: int, activation: ActivationName) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed_channels, 1)
        self.activation = ACTIVATIONS[activation]()
        self.expand = nn.Conv2d(squeezed_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The input, each channel times its weight."""
        scale = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        scale = self.expand(self.activation(self.reduce(scale)))
        return x * torch.sigmoid(scale)


class DropConnect(nn.Module):
    """Stochastic depth per sample: in training a sample's branch is dropped with `rate`.

    Kept samples are divided by the survival probability, so the expectation is the same.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """The input; in training, samples at random are 0."""
        if not self.training or self.rate == 0.0:
            return x
        # The same numbers as torch.rand(N, 1, 1, 1), which torch.fx cannot trace for its size.
        keep = torch.rand_like(x[:, :1, :1, :1]) >= self.rate  # (N, 1, 1, 1)
        return x * keep / (1.0 - self.rate)

    def extra_repr(self) -> str:
        """The rate, for printing."""
        return f"rate={self.rate:g}"


class MBConvLayer(nn.Module):
    """[1x1 expand, BN, act] -> k x k depthwise, BN, act -> SE -> 1x1 project, BN (-> + input).

    (N, C_in, H, W) -> (N, C_out, ceil(H/stride), ceil(W/stride)). The expansion is left out if
    it would keep the width.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        expanded_channels: int,
        kernel_size: int,
        squeezed_channels: int,
        activation: ActivationName,
        conventions: Conventions,
        drop_rate: float | None = None,  # None: no skip
    ) -> None:
        super().__init__()
        expanded = expanded_channels
        self.expand: nn.Module = nn.Identity()
        if expanded != in_channels:
            self.expand = nn.Sequential(
                convolution(in_channels, expanded, conventions=conventions),
                batch_norm(expanded, conventions),
                ACTIVATIONS[activation](),
            )
        self.depthwise = nn.Sequential(
            convolution(
                expanded,
                expanded,
                kernel_size,
                stride=stride,
                groups=expanded,
                conventions=conventions,
            ),
            batch_norm(expanded, conventions),
            ACTIVATIONS[activation](),
        )
        self.excitation: nn.Module = nn.Identity()
        if squeezed_channels:
            self.excitation = SqueezeExcitation(expanded, squeezed_channels, activation)
        self.project = nn.Sequential(
            convolution(expanded, out_channels, conventions=conventions),
            batch_norm(out_channels, conventions),
        )
        self.drop_connect = None if drop_rate is None else DropConnect(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """The branch, with the input added if there is a skip."""
        branch = self.excitation(self.depthwise(self.expand(x)))
        branch = self.project(branch)
        return branch if self.drop_connect is None else x + self.drop_connect(branch)


class FusedMBConvLayer(nn.Module):
    """k x k convolution that expands, BN, act -> SE -> 1x1 project, BN (-> + input).

    (N, C_in, H, W) -> (N, C_out, ceil(H/stride), ceil(W/stride)). Without expansion the
    k x k convolution gives the output and there is no projection.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        expanded_channels: int,
        kernel_size: int,
        squeezed_channels: int,
        activation: ActivationName,
        conventions: Conventions,
        drop_rate: float | None = None,  # None: no skip
    ) -> None:
        super().__init__()
        expands = expanded_channels != in_channels
        fused = expanded_channels if expands else out_channels
        self.fused = ConvolutionLayer(
            in_channels,
            fused,
            kernel_size=kernel_size,
            stride=stride,
            activation=activation,
            conventions=conventions,
        )
        self.excitation: nn.Module = nn.Identity()
        if squeezed_channels:
            self.excitation = SqueezeExcitation(fused, squeezed_channels, activation)
        self.project: nn.Module = nn.Identity()
        if expands:
            self.project = ConvolutionLayer(
                fused, out_channels, kernel_size=1, activation="none", conventions=conventions
            )
        self.drop_connect = None if drop_rate is None else DropConnect(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """The branch, with the input added if there is a skip."""
        branch = self.project(self.excitation(self.fused(x)))
        return branch if self.drop_connect is None else x + self.drop_connect(branch)
