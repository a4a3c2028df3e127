"""U-Net's head: step by step to finer maps, each joined with the body's map of that size.

Ronneberger et al., arXiv:1505.04597, with padded convolutions, so that maps fit without cropping.
"""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, fx, nn

from search_spaces.blocks.block import Channels, KernelSize
from search_spaces.heads.deconvolution import deconvolution_layer
from search_spaces.heads.head import PixelHead, Row, Tap, fitted, framed, told_strides

Up = Literal["nearest", "bilinear", "deconvolution"]


class UNetHead(PixelHead):
    """For each of `widths`, from coarse to fine: upsampling, the body's map joined, `layers` 3 x 3.

    Each step goes to the next finer map of the body. One more step may go to the image's size,
    with no map to join. With fewer steps the scores are interpolated to the image's size.
    """

    grows: ClassVar = ("widths",)
    deepens: ClassVar = ("layers",)
    kind: Literal["unet"]
    """The kind of head."""
    widths: Annotated[tuple[Channels, ...], Field(min_length=1)]
    """Channels of each step up, the coarsest first."""
    layers: Annotated[int, Field(ge=1)] = 2
    """How many convolutions each step has."""
    up: Up = "bilinear"
    """How a map gets larger: interpolation, or a transposed convolution to the step's width."""
    scores_kernel_size: KernelSize = 1
    """Side of the last convolution's kernel, an odd number."""

    @property
    def channels(self) -> int:
        """The width of the first step."""
        return self.widths[0]

    def read(self, maps: list[Tap]) -> list[Tap]:
        """The maps that the steps need, finest first."""
        return self.taps(maps)[-(len(self.widths) + 1) :]

    def rows(self, maps: list[Tap], num_classes: int) -> list[Row]:
        """Per step the deconvolution `up_<k>`, if any, then `step_<k>_<j>`; last `scores`."""
        *finer, before = self._checked(maps)
        channels = before.channels
        rows: list[Row] = []
        for k, width in enumerate(self.widths):
            to = finer.pop() if finer else Tap(0, 0, 1)  # the last step: the image itself
            if self.up == "deconvolution":
                factor = before.stride // to.stride
                layer = deconvolution_layer(channels, width, kernel_size=factor, factor=factor)
                rows.append(Row(f"head.up_{k}", layer, at=before.at))
                channels = width
            channels += to.channels
            for j in range(self.layers):
                layer = self.convolution(channels, width, 3)
                rows.append(Row(f"head.step_{k}_{j}", layer, at=to.at))
                channels = width
            before = to
        scores = self.scores(channels, num_classes, kernel_size=self.scores_kernel_size)
        return [*rows, Row("head.scores", scores, at=before.at)]

    def _checked(self, maps: list[Tap]) -> list[Tap]:
        taps = self.taps(maps)
        most = len(taps) - 1 + (taps[0].stride > 1)
        if len(self.widths) > most:
            raise ValueError(
                f"head: widths ask for {len(self.widths)} steps up, but the body has "
                f"{told_strides(taps)}: give at most {most} widths, or more strides to the body"
            )
        return self.read(maps)

    def assembled(self, layers: dict[str, nn.Module]) -> nn.Module:
        """The module `UNet`."""
        return UNet(layers, steps=len(self.widths), up=self.up, dropout=self.dropout)

    def describe(self) -> str:
        """As `U-Net, 4 steps of 2, bilinear`."""
        return f"U-Net, {len(self.widths)} steps of {self.layers}, {self.up}"


# torch.fx cannot trace what looks at sizes; it records the call as one step.
fx.wrap("fitted")
fx.wrap("framed")


class UNet(nn.Module):
    """The module of `UNetHead`: maps, finest first, -> (N, num_classes, height, width)."""

    def __init__(self, layers: dict[str, nn.Module], *, steps: int, up: Up, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.steps = [
            [name for name in layers if name.startswith(f"step_{k}_")] for k in range(steps)
        ]
        self.up: Up = up
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        """The scores of each pixel."""
        x = maps[-1]
        for k, names in enumerate(self.steps):
            beside = maps[-2 - k] if k + 2 <= len(maps) else None
            side = size if beside is None else (beside.shape[-2], beside.shape[-1])
            if self.up == "deconvolution":
                x = framed(self.layers[f"up_{k}"](x), side)
            else:
                x = fitted(x, side, self.up)
            if beside is not None:
                x = torch.cat([x, beside], dim=1)
            for name in names:
                x = self.layers[name](x)
        return fitted(self.layers["scores"](self.dropout(x)), size, "bilinear")
