"""Transposed convolutions, which enlarge a map by their stride."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.blocks.block import Conventions, Layer
from search_spaces.blocks.window import Window


def deconvolution_layer(
    in_channels: int, out_channels: int, *, kernel_size: int, factor: int, bias: bool = True
) -> Layer:
    """The resolved layer that makes a map `factor` times as large.

    `kernel_size` is `factor` (windows do not overlap) or twice that (as in FCN, where it begins
    as bilinear interpolation).
    """
    arguments = (("kernel_size", kernel_size), ("factor", factor), ("bias", bias))
    window = Window((kernel_size, kernel_size), factor, "up")
    return Layer(Deconvolution, in_channels, out_channels, arguments=arguments, paths=((window,),))


class Deconvolution(nn.ConvTranspose2d):
    """(N, C_in, H, W) -> (N, C_out, factor * H, factor * W)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        kernel_size: int,
        factor: int,
        bias: bool,
        conventions: Conventions,
    ) -> None:
        room = kernel_size - factor
        more: dict[str, Any] = {"padding": (room + 1) // 2, "output_padding": room % 2}
        super().__init__(in_channels, out_channels, kernel_size, stride=factor, bias=bias, **more)
        if in_channels == out_channels and kernel_size == 2 * factor:
            self._begin_bilinear(factor)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """The enlarged map. torch's own forward asks for sizes, which torch.fx cannot trace."""
        constants: Any = (self.stride, self.padding, self.output_padding)
        return functional.conv_transpose2d(x, self.weight, self.bias, *constants)

    @torch.no_grad()
    def _begin_bilinear(self, factor: int) -> None:
        """First weights that enlarge each channel bilinearly: arXiv:1411.4038, section 4.3."""
        centre = factor - 0.5
        line = 1 - (torch.arange(2 * factor) - centre).abs() / factor
        self.weight.zero_()
        for channel in range(self.in_channels):
            self.weight[channel, channel] = torch.outer(line, line)
