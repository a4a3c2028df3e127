"""Residual blocks, basic and bottleneck, in five activation orders and with four shortcuts.

He et al., arXiv:1512.03385 (basic, bottleneck, shortcuts A, B, C); arXiv:1603.05027, table 2 (the
orders); Xie et al., arXiv:1611.05431 (groups and width per group).
"""

from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field
from torch import Tensor, nn

from search_spaces.blocks.block import (
    ACTIVATIONS,
    ActivationName,
    Block,
    Channels,
    Conventions,
    KernelSize,
    Layer,
    Widening,
)
from search_spaces.blocks.convolution import batch_norm, convolution, convolution_layer
from search_spaces.blocks.mbconv import DropConnect, SqueezeExcitation
from search_spaces.blocks.pooling import ZeroPadded
from search_spaces.blocks.window import dilated, square

Order = Literal[
    "original",  # conv BN act conv BN + act
    "bn_after_addition",  # conv BN act conv + BN act
    "relu_before_addition",  # conv BN act conv BN act +
    "relu_only_pre_activation",  # act conv BN act conv BN +
    "full_pre_activation",  # BN act conv BN act conv +
]
PRE_ACTIVATION = ("relu_only_pre_activation", "full_pre_activation")


class Unit(NamedTuple):
    """One convolution of a residual branch."""

    kernel_size: int
    channels: int
    stride: int = 1
    groups: int = 1


class Residual(Block):
    """What basic and bottleneck blocks share.

    `shortcut` has the letters of arXiv:1512.03385. `A` is the identity, subsampled and with zero
    channels appended if shapes change; `B` is a projection if shapes change; `C` is always one;
    `none` makes a plain network. In the pre-activation orders a layer that changes the shape
    shares its first activation between branch and shortcut, as in resnet-1k-layers.
    """

    grows: ClassVar[tuple[str, ...]] = ("inner_channels",)

    order: Order = "original"
    """The order of convolution, batch norm, activation and addition."""
    shortcut: Literal["A", "B", "C", "none"] = "B"
    """The shortcut of arXiv:1512.03385, `A`, `B` or `C`. `none` makes a plain network."""
    se_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Squeeze-and-excitation: its width over the layer's output channels. 0 leaves it out."""
    dilation: Channels = 1
    """Distance in pixels between the elements of kernels larger than 1 x 1."""
    activation: ActivationName = "relu"
    """The activation function."""
    inner_channels: Channels | None = None
    """The width inside the branch. Without it: the channels (basic), a quarter (bottleneck)."""

    def units(self, channels: int, stride: int) -> tuple[Unit, ...]:
        """The convolutions of the branch."""
        raise NotImplementedError

    def fitting_channels(self, channels: int, *, in_channels: int, layers: int) -> int:
        """With shortcut A at least the input's width: it appends channels and cannot drop any."""
        return max(channels, in_channels) if self.shortcut == "A" else channels

    def layers(self, in_channels: int, channels: int, layers: int, stride: int) -> list[Layer]:
        """One layer for each repeat; in a plain network one layer for each convolution."""
        first = self._layer(in_channels, channels, stride)
        return first + self._layer(channels, channels, 1) * (layers - 1)

    def _layer(self, in_channels: int, channels: int, stride: int) -> list[Layer]:
        units = self.units(channels, stride)
        squeezed = max(1, int(channels * self.se_ratio)) if self.se_ratio else 0
        plain = self.shortcut == "none"
        if plain and not squeezed and self.order not in PRE_ACTIVATION:
            return self._convolutions(in_channels, units)
        # Without dilation keys stay those from before dilation was added.
        spread = (("dilation", self.dilation),) if self.dilation > 1 else ()
        layer = Layer(
            ResidualLayer,
            in_channels,
            channels,
            stride=stride,
            residual=not plain,
            arguments=(
                ("units", units),
                ("order", self.order),
                ("shortcut", self._resolved_shortcut(in_channels, channels, stride)),
                ("squeezed_channels", squeezed),
                ("activation", self.activation),
                *spread,
            ),
            paths=(
                tuple(
                    square(dilated(unit.kernel_size, self.dilation), unit.stride) for unit in units
                ),
            ),
        )
        return [layer]

    def _convolutions(self, in_channels: int, units: tuple[Unit, ...]) -> list[Layer]:
        """A plain branch as convolutions: without an addition all orders are the same."""
        layers = []
        for unit in units:
            layers.append(
                convolution_layer(
                    in_channels,
                    unit.channels,
                    kernel_size=unit.kernel_size,
                    stride=unit.stride,
                    groups=unit.groups,
                    dilation=self.dilation if unit.kernel_size > 1 else 1,
                    activation=self.activation,
                )
            )
            in_channels = unit.channels
        return layers

    def _resolved_shortcut(self, in_channels: int, channels: int, stride: int) -> str:
        if self.shortcut in ("none", "C"):
            return {"none": "none", "C": "projection"}[self.shortcut]
        if stride == 1 and in_channels == channels:
            return "identity"
        if self.shortcut == "B":
            return "projection"
        if in_channels > channels:
            raise ValueError(
                f"shortcut A appends zero channels and cannot shrink {in_channels} channels to "
                f"{channels}; use shortcut B or at least {in_channels} channels"
            )
        return "padded"

    def _details(self) -> str:
        parts = [] if self.order == "original" else [self.order.replace("_", " ")]
        parts += {"A": ["zero-padded"], "C": ["all projected"]}.get(self.shortcut, [])
        parts += [f"SE {self.se_ratio:g}"] if self.se_ratio else []
        parts += [f"dilation {self.dilation}"] if self.dilation > 1 else []
        parts += [f"inner {self.inner_channels}"] if self.inner_channels else []
        return "".join(f", {part}" for part in parts)


class Basic(Residual):
    """Two k x k convolutions."""

    kind: Literal["basic"] = "basic"
    """The name of the block family."""
    kernel_size: KernelSize = 3
    """Side of both kernels, an odd number."""

    def units(self, channels: int, stride: int) -> tuple[Unit, ...]:
        """Two convolutions; the first has `inner_channels` if set, else both have `channels`."""
        inner = self.inner_channels or channels
        return Unit(self.kernel_size, inner, stride), Unit(self.kernel_size, channels)

    def describe(self) -> str:
        """As `Basic, k3x3, zero-padded`."""
        name = "Plain" if self.shortcut == "none" else "Basic"
        return f"{name}, k{self.kernel_size}x{self.kernel_size}{self._details()}"


class Bottleneck(Residual):
    """1 x 1 down to the inner width, k x k in groups, 1 x 1 up to the channels.

    The inner width is a quarter of the channels, and `groups` must divide it. With
    `width_per_group` (ResNeXt's d, at 64 base channels) it is
    floor(channels / 4 * width_per_group / 64) * groups, for any channels. `inner_channels` gives
    the inner width itself, a multiple of `groups`; it grows with the network's channels.
    """

    kind: Literal["bottleneck"] = "bottleneck"
    """The name of the block family."""
    kernel_size: KernelSize = 3
    """Side of the middle kernel, an odd number."""
    groups: Channels = 1
    """Number of groups of the middle convolution."""
    width_per_group: Channels | None = None
    """ResNeXt's d: the width of a group at a base width of 64."""
    stride_on: Literal["3x3", "1x1"] = "3x3"
    """Which convolution carries the stride."""

    def widen(self, width: Widening) -> Self:
        """A copy with `inner_channels`, if set, mapped by `width` to a multiple of `groups`."""
        inner = self.inner_channels and -(-width(self.inner_channels) // self.groups) * self.groups
        return self.replace(inner_channels=inner)

    def units(self, channels: int, stride: int) -> tuple[Unit, ...]:
        """1 x 1, k x k in groups, 1 x 1."""
        width = self.inner_width(channels)
        first, second = (stride, 1) if self.stride_on == "1x1" else (1, stride)
        return (
            Unit(1, width, first),
            Unit(self.kernel_size, width, second, self.groups),
            Unit(1, channels),
        )

    def inner_width(self, channels: int) -> int:
        """The width of the k x k convolution."""
        inner = self.inner_channels or channels // 4
        if self.width_per_group is not None:
            if self.inner_channels:
                raise ValueError(
                    f"needs inner_channels or width_per_group, but got both, {inner} and "
                    f"{self.width_per_group}; leave one out"
                )
            inner = inner * self.width_per_group // 64 * self.groups
        if inner == 0:
            raise ValueError(f"a bottleneck of {channels} channels has width 0 inside; use more")
        if inner % self.groups:
            told = f"(a quarter of {channels} channels); change one, or give width_per_group"
            if self.inner_channels:
                told = "(inner_channels); change one"
            raise ValueError(
                f"groups {self.groups} must divide the bottleneck's width, which is {inner} {told}"
            )
        return inner

    def fitting_channels(self, channels: int, *, in_channels: int, layers: int) -> int:
        """Without `width_per_group` the next multiple of 4 * groups; with it at least the width
        that gives each group one channel.
        """
        channels = super().fitting_channels(channels, in_channels=in_channels, layers=layers)
        if self.inner_channels is not None:
            return channels
        if self.width_per_group is not None:
            return max(channels, 4 * -(-64 // self.width_per_group))
        if self.groups == 1:
            return max(channels, 4)
        return -(-channels // (4 * self.groups)) * 4 * self.groups

    def describe(self) -> str:
        """As `Bottleneck, k3x3, 32x4d`."""
        name = "Plain bottleneck" if self.shortcut == "none" else "Bottleneck"
        width = "" if self.width_per_group is None else f"x{self.width_per_group}d"
        groups = f", {self.groups}{width or ' groups'}" if self.groups > 1 or width else ""
        return f"{name}, k{self.kernel_size}x{self.kernel_size}{groups}{self._details()}"


class ResidualLayer(nn.Module):
    """after(branch(before(x)) + shortcut(x)); (N, C_in, H, W) -> (N, C_out, H/stride, W/stride)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        units: tuple[Unit, ...],
        order: Order,
        shortcut: str,
        squeezed_channels: int,
        activation: ActivationName,
        conventions: Conventions,
        drop_rate: float | None = None,  # None: no shortcut
        dilation: int = 1,
    ) -> None:
        super().__init__()
        act = ACTIVATIONS[activation]
        self.before = nn.Sequential()
        if order == "full_pre_activation":
            self.before.append(batch_norm(in_channels, conventions))
        if order in PRE_ACTIVATION:
            self.before.append(act())
        self.branch = _branch(
            in_channels, units, order=order, act=act, conventions=conventions, dilation=dilation
        )
        if squeezed_channels:
            self.branch.append(SqueezeExcitation(out_channels, squeezed_channels, activation))
        if order == "relu_before_addition":
            self.branch.append(act())
        self.shortcut: nn.Module | None = nn.Identity() if shortcut != "none" else None
        if shortcut == "padded":
            self.shortcut = ZeroPadded(out_channels - in_channels, stride)
        elif shortcut == "projection":
            self.shortcut = nn.Sequential(
                convolution(in_channels, out_channels, stride=stride, conventions=conventions)
            )
            if order != "full_pre_activation":
                self.shortcut.append(batch_norm(out_channels, conventions))
        self.after = nn.Sequential()
        if order == "bn_after_addition":
            self.after.append(batch_norm(out_channels, conventions))
        if order in ("original", "bn_after_addition"):
            self.after.append(act())
        self.shares_activation = shortcut in ("padded", "projection")
        self.drop_connect = None if drop_rate is None else DropConnect(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """The sum of branch and shortcut, activated if the order says so."""
        activated = self.before(x)
        branch = self.branch(activated)
        if self.shortcut is None or self.drop_connect is None:
            return self.after(branch)
        shortcut = self.shortcut(activated if self.shares_activation else x)
        return self.after(shortcut + self.drop_connect(branch))


def _branch(
    in_channels: int,
    units: tuple[Unit, ...],
    *,
    order: Order,
    act: type[nn.Module],
    conventions: Conventions,
    dilation: int,
) -> nn.Sequential:
    """The convolutions and the steps between them; the layer has the steps around them."""
    branch = nn.Sequential()
    for i, unit in enumerate(units):
        last = i + 1 == len(units)
        branch.append(
            convolution(
                in_channels,
                unit.channels,
                unit.kernel_size,
                stride=unit.stride,
                groups=unit.groups,
                dilation=dilation if unit.kernel_size > 1 else 1,
                conventions=conventions,
            )
        )
        norm_later = last and order in ("bn_after_addition", "full_pre_activation")
        if not norm_later:
            branch.append(batch_norm(unit.channels, conventions))
        if not last:
            branch.append(act())
        in_channels = unit.channels
    return branch
