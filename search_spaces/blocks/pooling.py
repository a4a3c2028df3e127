"""Pooling as a row of the table; it keeps the channels."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from search_spaces.blocks.block import Block, Channels, Conventions, Layer
from search_spaces.blocks.window import Padding, square


class Pool(Block):
    """A max- or average-pool over windows of `kernel_size`.

    `padding: symmetric` needs an odd kernel and gives ceil(n / stride) pixels.
    """

    kind: Literal["pool"] = "pool"
    """The name of the block family."""
    form: Literal["max", "average"] = "max"
    """Whether a window gives its maximum or its average."""
    kernel_size: Channels = 2
    """Side of the window in pixels."""
    padding: Padding | None = None
    """How the border is padded. Without it: `symmetric` for odd windows, `valid` for even ones."""

    @property
    def fixed_layers(self) -> int | None:
        """One: no published network has a stage of several pools."""
        return 1

    def fitting_channels(self, channels: int, *, in_channels: int, layers: int) -> int:
        """A pool keeps the width."""
        return in_channels

    def layer(self, in_channels: int, channels: int, stride: int) -> Layer:
        """The pool. ValueError for an even kernel with symmetric padding."""
        odd = self.kernel_size % 2 == 1
        padding = self.padding or ("symmetric" if odd else "valid")
        if padding == "symmetric" and not odd:
            raise ValueError(
                f"a pool with symmetric padding needs an odd kernel_size, but got "
                f"{self.kernel_size}; use padding: valid or ceil"
            )
        arguments = (
            ("form", self.form),
            ("kernel_size", self.kernel_size),
            ("padding", padding),
        )
        path = (square(self.kernel_size, stride, padding),)
        return Layer(
            PoolLayer, in_channels, channels, stride=stride, arguments=arguments, paths=(path,)
        )

    def describe(self) -> str:
        """As `MaxPool3x3`."""
        return f"{'Max' if self.form == 'max' else 'Avg'}Pool{self.kernel_size}x{self.kernel_size}"


def pool(
    form: Literal["max", "average"],
    kernel_size: int,
    *,
    stride: int,
    padding: Padding,
    conventions: Conventions,
) -> nn.Module:
    """The torch module of a pool."""
    around = kernel_size // 2 if padding == "symmetric" else 0
    ceil = padding == "ceil"
    if form == "max":
        return nn.MaxPool2d(kernel_size, stride, around, ceil_mode=ceil)
    counted = conventions.average_pool == "with_padding"
    return nn.AvgPool2d(kernel_size, stride, around, ceil_mode=ceil, count_include_pad=counted)


class PoolLayer(nn.Module):
    """(N, C, H, W) -> (N, C, H', W')."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        form: Literal["max", "average"],
        kernel_size: int,
        padding: Padding,
        conventions: Conventions,
    ) -> None:
        super().__init__()
        self.pool = pool(form, kernel_size, stride=stride, padding=padding, conventions=conventions)

    def forward(self, x: Tensor) -> Tensor:
        """The pooled map."""
        return self.pool(x)


class ZeroPadded(nn.Module):
    """Shortcut A: every `stride`th pixel, zero channels appended, as in fb.resnet.torch."""

    def __init__(self, extra_channels: int, stride: int) -> None:
        super().__init__()
        self.extra_channels = extra_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """The subsampled map and zeros behind its channels."""
        x = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, 0, self.extra_channels))

    def extra_repr(self) -> str:
        """The numbers, for printing."""
        return f"extra_channels={self.extra_channels}, stride={self.stride}"
