"""Masks from a feature pyramid: every level is enlarged to the finest size, and all are added.

Kirillov et al., arXiv:1901.02446, section 3 and figure 3, as in segmentation_models_pytorch.
"""

from typing import ClassVar, Literal

from torch import Tensor, fx, nn

from search_spaces.blocks.block import Channels, Rate
from search_spaces.blocks.convolution import convolution_layer
from search_spaces.heads.head import Interpolation, Row, Task, fitted
from search_spaces.heads.predictor import Levels, Predictor
from search_spaces.heads.pyramid import Neck


class Pixels(Predictor):
    """On each level 3 x 3 convolutions, each followed by upsampling to the next finer level.

    The finest level has one convolution and no upsampling. The levels are added, a convolution
    scores the sum, and the scores are interpolated to the image's size.
    """

    task: ClassVar[Task] = "segmentation"
    grows: ClassVar = ("channels",)
    farthest: ClassVar = ("step_0_",)  # the steps from the coarsest level
    kind: Literal["pixels"]
    """The kind of predictor."""
    channels: Channels = 128
    """Width of the convolutions."""
    norm: Literal["group_norm", "group_norm_4", "batch_norm"] = "group_norm"
    """What normalises them: group norm in groups of 8 channels or more, or of 4; or batch norm."""
    up: Interpolation = "bilinear"
    """How maps get larger. `bilinear_corners` keeps the centres of the corner pixels in place."""
    dropout: Rate = 0.0
    """Dropout rate before the scores."""

    def rows(self, levels: Levels, num_classes: int) -> list[Row]:
        """`step_<k>_<j>`: convolution j of level k (0 is the coarsest); last `scores`."""
        rows: list[Row] = []
        for k in range(len(levels.numbers)):
            finer = levels.numbers[: len(levels.numbers) - k]  # this level is the last of them
            for j in range(max(1, len(finer) - 1)):
                layer = convolution_layer(
                    self.channels if j else levels.channels,
                    self.channels,
                    kernel_size=3,
                    activation=levels.activation,
                    norm=self.norm,
                )
                rows.append(Row(f"head.step_{k}_{j}", layer, at=finer[-1 - j]))
        scores = convolution_layer(
            self.channels, num_classes, kernel_size=1, activation="none", norm="none", bias=True
        )
        return [*rows, Row("head.scores", scores, at=levels.numbers[0])]

    def assembled(
        self, pyramid: Neck, layers: dict[str, nn.Module], strides: tuple[int, ...]
    ) -> nn.Module:
        """The module `PixelScores`."""
        return PixelScores(pyramid, layers, up=self.up, dropout=self.dropout)

    def describe(self) -> str:
        """As `pixels of 128 channels`."""
        return f"pixels of {self.channels} channels"


# torch.fx cannot trace what looks at sizes; it records the call as one step.
fx.wrap("fitted")


class PixelScores(nn.Module):
    """Maps, finest first, and the image's size -> (N, num_classes, height, width)."""

    def __init__(
        self, pyramid: Neck, layers: dict[str, nn.Module], *, up: Interpolation, dropout: float
    ) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.layers = nn.ModuleDict(layers)
        self.up: Interpolation = up
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        """The scores of each pixel."""
        levels = self.pyramid(maps)
        sides = [(x.shape[-2], x.shape[-1]) for x in levels]
        summed: Tensor | None = None
        for k, x in enumerate(reversed(levels)):
            finer = sides[: len(sides) - 1 - k]
            for j in range(max(1, len(finer))):
                x = self.layers[f"step_{k}_{j}"](x)
                x = fitted(x, finer[-1 - j], self.up) if finer else x
            summed = x if summed is None else summed + x
        assert summed is not None
        return fitted(self.layers["scores"](self.dropout(summed)), size, self.up)
