"""What every predictor on a pyramid offers: its layers, its module, how it grows."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import Field
from torch import Tensor, nn

from search_spaces.blocks.block import ActivationName, Growing, Layer
from search_spaces.blocks.convolution import AnyNorm, ConvolutionLayer, convolution_layer
from search_spaces.blocks.window import square
from search_spaces.heads.head import Row, Task
from search_spaces.heads.pyramid import Neck
from search_spaces.heads.tower import ConvolutionName, SeparableConvolution, TowerStep

Target = dict[str, Tensor]  # `boxes` (M, 4) as x1, y1, x2, y2 in pixels, `labels` (M,) int64
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Layers = Annotated[int, Field(ge=0)]
AnchorSize = Annotated[float, Field(gt=0)]
Ratios = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class Levels(NamedTuple):
    """The maps that a predictor reads, finest first: their width, numbers and strides."""

    channels: int
    numbers: tuple[int, ...]
    strides: tuple[int, ...]
    activation: ActivationName

    def row(self, name: str, channels: int, *, norm: AnyNorm) -> Row:
        """A 3 x 3 convolution with norm and activation, the same at each level."""
        return self._row(name, channels, 3, norm=norm, activation=self.activation)

    def step(
        self,
        name: str,
        channels: int,
        *,
        convolution: ConvolutionName,
        norm: bool = True,
        activation: ActivationName | None = None,
    ) -> Row:
        """A step of a tower with equal weights at each level, but with norms of each level."""
        arguments = (
            ("convolution_kind", convolution),
            ("levels", len(self.numbers) if norm else 0),
            ("activation", self.activation if activation is None else activation),
        )
        paths = ((square(3),),)
        layer = Layer(TowerStep, self.channels, channels, arguments=arguments, paths=paths)
        return self._everywhere(name, layer)

    def scores(self, name: str, channels: int, *, kernel_size: int = 3) -> Row:
        """A bare convolution with a bias, the same at each level."""
        return self._row(name, channels, kernel_size, norm="none", activation="none")

    def _row(
        self,
        name: str,
        channels: int,
        kernel_size: int,
        *,
        norm: AnyNorm,
        activation: ActivationName,
    ) -> Row:
        layer = convolution_layer(
            self.channels,
            channels,
            kernel_size=kernel_size,
            activation=activation,
            norm=norm,
            bias=norm != "batch_norm",
        )
        return self._everywhere(name, layer)

    def _everywhere(self, name: str, layer: Layer) -> Row:
        first, *rest = self.numbers
        return Row(f"head.{name}", layer, at=first, also=tuple(rest))


def scores_given(scores: nn.Module) -> int:
    """How many channels a built layer of scores gives."""
    assert isinstance(scores, ConvolutionLayer | TowerStep)
    return int(scores.conv.out_channels)  # type: ignore[arg-type]


def width_read(layer: nn.Module) -> int:
    """How many channels a built layer of a predictor reads."""
    if isinstance(layer, TowerStep) and isinstance(layer.conv, SeparableConvolution):
        return layer.conv.depthwise.in_channels
    if isinstance(layer, ConvolutionLayer | TowerStep):
        return int(layer.conv.in_channels)  # type: ignore[arg-type]
    return int(layer.in_channels)  # type: ignore[arg-type]


def anchor_generator(
    strides: tuple[int, ...], size: float, ratios: tuple[float, ...], octaves: int
) -> Any:
    """torchvision's, with anchors of `size` strides and larger at each level, in whole pixels."""
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    sizes = tuple(
        tuple(int(size * stride * 2 ** (i / octaves)) for i in range(octaves)) for stride in strides
    )
    return AnchorGenerator(sizes, (ratios,) * len(strides))


class Predictor(Growing):
    """What makes boxes, or a class for each pixel, from a pyramid's maps."""

    task: ClassVar[Task] = "detection"
    deepens: ClassVar[tuple[str, ...]] = ()  # the fields that are numbers of layers
    # Prefixes of the names of the rows with the largest receptive field, in order.
    farthest: ClassVar[tuple[str, ...]]

    def rows(self, levels: Levels, num_classes: int) -> list[Row]:
        """The predictor's layers."""
        raise NotImplementedError

    def assembled(
        self, pyramid: Neck, layers: dict[str, nn.Module], strides: tuple[int, ...]
    ) -> nn.Module:
        """The head's module, made of the pyramid and the predictor's built layers by name."""
        raise NotImplementedError

    def deepen(self, layers: Callable[[int], int]) -> Self:
        """A copy with every number of layers mapped by `layers`; 0 stays."""
        counts = {name: getattr(self, name) for name in self.deepens}
        return self.replace(**{name: n and layers(n) for name, n in counts.items()})

    @property
    def counted(self) -> str:
        """How often a part is counted in the FLOPs, as `1,000 proposals`; empty for once."""
        return ""

    def describe(self) -> str:
        """The operator column of the paper's Table 1."""
        raise NotImplementedError


class BoxPredictor(Predictor):
    """What makes boxes from a pyramid's maps. Its weights are the same at each level."""

    deepens: ClassVar = ("layers",)
    layers: Layers
    """How many 3 x 3 convolutions stand before the scores."""
    score_threshold: Share
    """Boxes with a lower score are left out."""
    nms_iou: Share
    """Of two boxes of one class that overlap more than this, the one with the lower score goes."""
    detections: Count
    """The most boxes of an image."""
