"""Convolution, normalisation, activation: VGG's layers, and the stem and tail of most networks."""

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.blocks.block import (
    ACTIVATIONS,
    ActivationName,
    Block,
    Channels,
    Conventions,
    KernelSize,
    Layer,
)
from search_spaces.blocks.pooling import Pool
from search_spaces.blocks.window import Padding, dilated, square

NormName = Literal["batch_norm", "none"]
AnyNorm = Literal["batch_norm", "group_norm", "group_norm_4", "none"]
# The least channels of a group: 32 groups at 256 channels (arXiv:1803.08494's default) or at 128.
OF_A_GROUP = {"group_norm": 8, "group_norm_4": 4}


class Convolution(Block):
    """A k x k convolution, batch norm and an activation.

    `downsample` says how a stage with a stride shrinks the map: by the first convolution, or by a
    max-pool of that size before it (VGG). With `padding: valid` the first layer has no
    padding; repeats keep the map. `groups` must divide the channels on both sides.
    """

    kind: Literal["conv"] = "conv"
    """The name of the block family."""
    kernel_size: KernelSize
    """Side of the square kernel, an odd number."""
    activation: ActivationName = "silu"
    """The activation function."""
    norm: NormName = "batch_norm"
    """What normalises the convolution's output."""
    bias: bool = False
    """Whether the convolution has a bias."""
    groups: Channels = 1
    """Number of groups. It must divide the channels on both sides."""
    dilation: Channels = 1
    """Distance in pixels between the kernel's elements."""
    padding: Literal["symmetric", "valid"] = "symmetric"
    """`valid` gives the first layer of a stage no padding."""
    downsample: Literal["stride", "max_pool"] = "stride"
    """What shrinks the map in a stage with a stride: the convolution, or a max-pool before it."""

    def layer(self, in_channels: int, channels: int, stride: int) -> Layer:
        """One convolution. ValueError if `groups` does not divide both widths."""
        for side in (in_channels, channels):
            if side % self.groups:
                raise ValueError(f"groups {self.groups} must divide the channels, but got {side}")
        own = dict(
            self.pairs("kernel_size", "activation", "norm", "bias", "groups", "padding", "dilation")
        )
        return convolution_layer(in_channels, channels, stride=stride, **own)

    def layers(self, in_channels: int, channels: int, layers: int, stride: int) -> list[Layer]:
        """Perhaps a max-pool, then the convolutions; only the first may be without padding."""
        pool = []
        if self.downsample == "max_pool" and stride > 1:
            pool = [Pool(kernel_size=stride).layer(in_channels, in_channels, stride)]
            stride = 1
        first = self.layer(in_channels, channels, stride)
        rest = self.replace(padding="symmetric") if self.padding == "valid" else self
        return pool + [first] + [rest.layer(channels, channels, 1)] * (layers - 1)

    def fitting_channels(self, channels: int, *, in_channels: int, layers: int) -> int:
        """The nearest multiple of `groups`."""
        return max(1, round(channels / self.groups)) * self.groups

    def describe(self) -> str:
        """As `MaxPool & Conv3x3, 2 groups`."""
        pool = "MaxPool & " if self.downsample == "max_pool" else ""
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        spread = f", dilation {self.dilation}" if self.dilation > 1 else ""
        return f"{pool}Conv{self.kernel_size}x{self.kernel_size}{groups}{spread}"


class Normalisation(Block):
    """Local response normalisation over `size` channels, with torch's and Caffe's alpha / size."""

    kind: Literal["lrn"] = "lrn"
    """The name of the block family."""
    size: Channels = 5
    """Number of neighbouring channels that are summed."""
    alpha: Annotated[float, Field(gt=0)] = 1e-4
    """The factor of the sum of squares."""
    beta: Annotated[float, Field(gt=0)] = 0.75
    """The exponent."""
    k: Annotated[float, Field(gt=0)] = 1.0
    """The constant that is added to the sum."""

    @property
    def fixed_layers(self) -> int | None:
        """One: a second normalisation would do nothing new."""
        return 1

    def fitting_channels(self, channels: int, *, in_channels: int, layers: int) -> int:
        """Normalisation keeps the width."""
        return in_channels

    def layer(self, in_channels: int, channels: int, stride: int) -> Layer:
        """The normalisation. ValueError for a stride."""
        if stride != 1:
            raise ValueError(f"stride must be 1 for lrn, but got {stride}")
        arguments = self.pairs("size", "alpha", "beta", "k")
        return Layer(LocalResponseNorm, in_channels, channels, arguments=arguments)

    def describe(self) -> str:
        """`LRN`."""
        return "LRN"


class LocalResponseNorm(nn.LocalResponseNorm):
    """torch's, with the arguments that every layer takes; (N, C, H, W) -> the same."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        conventions: Conventions,
        **constants: Any,
    ) -> None:
        super().__init__(**constants)


def convolution_layer(
    in_channels: int,
    out_channels: int,
    *,
    kernel_size: int,
    stride: int = 1,
    activation: ActivationName = "relu",
    norm: AnyNorm = "batch_norm",
    bias: bool = False,
    groups: int = 1,
    padding: Padding = "symmetric",
    dilation: int = 1,
) -> Layer:
    """The resolved layer; for a 1 x 1 kernel every padding is the same."""
    padding = "symmetric" if kernel_size == 1 else padding
    arguments: tuple[tuple[str, Any], ...] = (
        ("kernel_size", kernel_size),
        ("activation", activation),
        ("norm", norm),
        ("bias", bias),
        ("groups", groups),
        ("padding", padding),
    )
    if dilation > 1:  # without it keys stay those from before dilation was added
        arguments += (("dilation", dilation),)
    return Layer(
        ConvolutionLayer,
        in_channels,
        out_channels,
        stride=stride,
        arguments=arguments,
        paths=((square(dilated(kernel_size, dilation), stride, padding),),),
    )


class SameConv2d(nn.Conv2d):
    """TensorFlow's SAME padding: out = ceil(n / s), the odd pixel goes to the bottom and right."""

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of a map padded by its own size."""
        height, width = (
            (kernel - 1) * apart + 1
            for kernel, apart in zip(self.kernel_size, self.dilation, strict=True)
        )
        rows = _same_padding(x.shape[2], height, self.stride[0])
        columns = _same_padding(x.shape[3], width, self.stride[1])
        pads = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        padded = functional.pad(x, pads)
        constants = (self.stride, 0, self.dilation, self.groups)
        return functional.conv2d(padded, self.weight, self.bias, *constants)


def _same_padding(size: int, kernel: int, stride: int) -> int:
    """The pixels that TensorFlow's SAME adds to a side of `size` pixels."""
    return max((-(-int(size) // stride) - 1) * stride + kernel - int(size), 0)


fx.wrap("_same_padding")  # torch.fx cannot trace max(); it records the call as one step


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int] = 1,
    *,
    conventions: Conventions,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
    padding: Padding = "symmetric",
    dilation: int = 1,
) -> nn.Conv2d:
    """A convolution whose output side is ceil(n / stride) by convention, or unpadded (`valid`)."""
    arguments: dict[str, Any] = {
        "stride": stride,
        "groups": groups,
        "bias": bias,
        "dilation": dilation,
    }
    if padding == "valid":
        return nn.Conv2d(in_channels, out_channels, kernel_size, **arguments)
    if conventions.padding == "same" and stride > 1:  # at stride 1 the two paddings are equal
        return SameConv2d(in_channels, out_channels, kernel_size, **arguments)
    rows, columns = (kernel_size,) * 2 if isinstance(kernel_size, int) else kernel_size
    arguments["padding"] = (rows // 2 * dilation, columns // 2 * dilation)
    return nn.Conv2d(in_channels, out_channels, kernel_size, **arguments)


def batch_norm(channels: int, conventions: Conventions) -> nn.BatchNorm2d:
    """Batch norm with the network's epsilon and momentum."""
    return nn.BatchNorm2d(
        channels, eps=conventions.batch_norm_eps, momentum=conventions.batch_norm_momentum
    )


def group_norm(channels: int, least: int) -> nn.GroupNorm:
    """Group norm of as many equal groups of `least` or more channels as possible."""
    groups = [g for g in range(1, channels // least + 1) if channels % g == 0]
    return nn.GroupNorm(max(groups, default=1), channels)


class ConvolutionLayer(nn.Module):
    """conv, BN, activation; (N, C_in, H, W) -> (N, C_out, ceil(H/stride), ceil(W/stride))."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        activation: ActivationName,
        conventions: Conventions,
        norm: AnyNorm = "batch_norm",
        bias: bool = False,
        groups: int = 1,
        padding: Padding = "symmetric",
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.conv = convolution(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            groups=groups,
            bias=bias,
            padding=padding,
            dilation=dilation,
            conventions=conventions,
        )
        self.norm: nn.Module = nn.Identity()
        if norm == "batch_norm":
            self.norm = batch_norm(out_channels, conventions)
        if norm in OF_A_GROUP:
            self.norm = group_norm(out_channels, OF_A_GROUP[norm])
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Convolution, norm, activation."""
        return self.activation(self.norm(self.conv(x)))
