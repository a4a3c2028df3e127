"""Fully convolutional heads: scores from the coarsest map, and up to two finer ones added.

Long et al., arXiv:1411.4038: one map of stride 32 gives FCN-32s, two FCN-16s, three FCN-8s.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, fx, nn

from search_spaces.blocks.block import Channels, KernelSize
from search_spaces.heads.deconvolution import deconvolution_layer
from search_spaces.heads.head import PixelHead, Row, Tap, fitted, framed, told_strides


class FCNHead(PixelHead):
    """Hidden convolutions on the coarsest map, then 1 x 1 to scores, then up to the image's size.

    With `skips` above 1 the scores of finer maps are added on the way, from coarse to fine.
    """

    grows: ClassVar = ("widths",)
    kind: Literal["fcn"]
    """The kind of head."""
    widths: tuple[Channels, ...] = ()
    """Channels of the hidden convolutions; the first has `kernel_size`, the others are 1 x 1."""
    kernel_size: KernelSize = 3
    """Side of the first hidden convolution's kernel, an odd number."""
    skips: Annotated[int, Field(ge=1, le=3)] = 1
    """How many maps are scored: 1 as in FCN-32s, 2 as in FCN-16s, 3 as in FCN-8s."""
    up: Literal["bilinear", "deconvolution"] = "bilinear"
    """How scores get larger: interpolation, or trained transposed convolutions, as in FCN."""

    @property
    def channels(self) -> int:
        """The width of the first hidden convolution; 0 if there is none."""
        return self.widths[0] if self.widths else 0

    def read(self, maps: list[Tap]) -> list[Tap]:
        """The maps that are scored, finest first."""
        return self.taps(maps)[-self.skips :]

    def rows(self, maps: list[Tap], num_classes: int) -> list[Row]:
        """`hidden_<i>`, `scores_<k>` and `up_<k>`, the coarsest map first."""
        taps = self.taps(maps)
        if self.skips > len(taps):
            raise ValueError(f"head: skips is {self.skips}, but the body has {told_strides(taps)}")
        taps = self.read(maps)
        channels, kernel_size = taps[-1].channels, self.kernel_size
        rows: list[Row] = []
        for i, width in enumerate(self.widths):
            layer = self.convolution(channels, width, kernel_size)
            rows.append(Row(f"head.hidden_{i}", layer, at=taps[-1].at))
            channels, kernel_size = width, 1
        for k, tap in enumerate(reversed(taps)):
            layer = self.scores(tap.channels if k else channels, num_classes)
            rows.append(Row(f"head.scores_{k}", layer, at=tap.at))
        if self.up == "deconvolution":
            targets = [*(tap.stride for tap in taps[-2::-1]), 1]
            for k, (tap, stride) in enumerate(zip(reversed(taps), targets, strict=True)):
                if (factor := tap.stride // stride) == 1:
                    continue
                layer = deconvolution_layer(
                    num_classes, num_classes, kernel_size=2 * factor, factor=factor, bias=False
                )
                rows.append(Row(f"head.up_{k}", layer, at=tap.at))
        return rows

    def assembled(self, layers: dict[str, nn.Module]) -> nn.Module:
        """The module `FCN`."""
        return FCN(layers, skips=self.skips, dropout=self.dropout)

    def describe(self) -> str:
        """As `FCN of 2 maps, bilinear`."""
        return f"FCN of {self.skips} map{'s' * (self.skips > 1)}, {self.up}"


# torch.fx cannot trace what looks at sizes; it records the call as one step.
fx.wrap("fitted")
fx.wrap("framed")


class FCN(nn.Module):
    """The module of `FCNHead`: maps, finest first, -> (N, num_classes, height, width)."""

    def __init__(self, layers: dict[str, nn.Module], *, skips: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.hidden = [name for name in layers if name.startswith("hidden_")]
        self.skips = skips
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        """The scores of each pixel."""
        x = maps[-1]
        for name in self.hidden:
            x = self.dropout(self.layers[name](x))
        x = self.layers["scores_0"](x)
        for k in range(1, self.skips):
            finer = self.layers[f"scores_{k}"](maps[-1 - k])
            x = finer + self._raised(x, k - 1, (finer.shape[-2], finer.shape[-1]))
        return self._raised(x, self.skips - 1, size)

    def _raised(self, x: Tensor, k: int, size: tuple[int, int]) -> Tensor:
        if (name := f"up_{k}") in self.layers:
            return framed(self.layers[name](x), size)
        return fitted(x, size, "bilinear")
