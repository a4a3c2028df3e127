"""What every head offers: its task, its layers in their places, and how it grows.

A classifier reads the last map. A dense head reads several maps: it gives a score for each class at
each pixel of the image, or boxes with a class and a score.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.blocks.block import ActivationName, Growing, Layer, Rate
from search_spaces.blocks.convolution import NormName, convolution_layer

Task = Literal["classification", "segmentation", "detection"]
# `bilinear` matches the outer edges of the corner pixels, `bilinear_corners` their centres.
Interpolation = Literal["nearest", "bilinear", "bilinear_corners"]


class Tap(NamedTuple):
    """A map that a head may read: behind the stem or a stage.

    `at` is its number in `Architecture.sizes()`, where 0 is the image; `stride` is in pixels of the
    image.
    """

    channels: int
    at: int
    stride: int


class Row(NamedTuple):
    """One resolved layer in its place: `stem`, `stages.<i>.<j>`, `head` or `auxiliary.<i>`.

    Layers of a dense head are `head.<name>`. `at` says how large such a layer's input is: as the
    map of that number in `Architecture.sizes()`, or, for larger numbers, as the last map halved
    once, twice and so on. None: the output of the row before. The same weights also run on the
    maps `also`. On each map they run `times` times: once an image, or once for each region.
    """

    part: str
    layer: Layer
    drop_rate: float = 0.0
    at: int | None = None
    also: tuple[int, ...] = ()
    times: int = 1

    def sides(self, sizes: list[int], before: int) -> list[int]:
        """Sides in pixels of the maps that it runs on; `before` is the row before's output side."""
        return [before] if self.at is None else [side_at(sizes, n) for n in (self.at, *self.also)]


def side_at(sizes: list[int], number: int) -> int:
    """The side of map `number` in pixels, where `sizes` are the architecture's."""
    side = sizes[min(number, len(sizes) - 1)]
    for _ in range(number - len(sizes) + 1):
        side = -(-side // 2)
    return side


class ClassifierHead(Growing):
    """A head that reads the last map and scores the whole image; its module is one layer."""

    @property
    def task(self) -> Task:
        """What the network does."""
        return "classification"

    def layer(self, in_channels: int, num_classes: int) -> Layer:
        """The head for `in_channels` of features, resolved."""
        raise NotImplementedError

    def read(self, maps: list[Tap]) -> list[Tap]:
        """The maps that the head reads, of those behind the stem and each stage."""
        return maps[-1:]

    def rows(self, maps: list[Tap], num_classes: int) -> list[Row]:
        """The head's layers."""
        return [Row("head", self.layer(maps[-1].channels, num_classes))]

    def assembled(self, layers: dict[str, nn.Module]) -> nn.Module:
        """The head's module, made of its built layers."""
        (layer,) = layers.values()
        return layer

    def deepen(self, layers: Callable[[int], int]) -> Self:
        """The same: a classifier has no field that is a number of layers."""
        return self


class DenseHead(Growing):
    """A head that reads several maps and predicts at each place of them.

    Its module takes the maps that it reads, the finest first, and the image's (height, width).
    """

    deepens: ClassVar[tuple[str, ...]] = ()  # the fields that are numbers of layers
    reads: tuple[Annotated[int, Field(ge=0)] | Literal["stem"], ...] | None = None
    """Numbers of the stages whose last maps it may read, or `stem`. By default the last of each
    stride."""
    norm: NormName = "batch_norm"
    """What normalises its convolutions. `none` gives them a bias instead."""
    activation: ActivationName = "relu"
    """The activation function."""

    @property
    def task(self) -> Task:
        """What the network does."""
        raise NotImplementedError

    def taps(self, maps: list[Tap]) -> list[Tap]:
        """The maps that it may read, the finest first. ValueError for a missing stage."""
        if self.reads is None:
            coarser = [*(tap.stride for tap in maps[1:]), None]
            return [t for t, after in zip(maps, coarser, strict=True) if t.stride != after]
        numbers = [-1 if read == "stem" else int(read) for read in self.reads]
        for number in numbers:
            if number >= len(maps) - 1:
                raise ValueError(
                    f"head: reads must name stages from 0 to {len(maps) - 2}, but got {number}"
                )
        if numbers[-1:] != [len(maps) - 2]:
            raise ValueError(
                f"head: reads must end with the last stage, {len(maps) - 2}, or the stages behind "
                f"the last one that is read have no effect; but reads is {list(self.reads)}"
            )
        found = [maps[number + 1] for number in numbers]
        strides = [tap.stride for tap in found]
        if any(b <= a for a, b in pairwise(strides)):
            raise ValueError(
                f"head: reads must name stages each at a larger stride than the one before, but "
                f"{list(self.reads)} are at strides {strides}"
            )
        return found

    def read(self, maps: list[Tap]) -> list[Tap]:
        """The maps that the head reads, finest first, of those behind the stem and each stage."""
        return self.taps(maps)

    def rows(self, maps: list[Tap], num_classes: int) -> list[Row]:
        """The head's layers; ValueError if there are too few maps."""
        raise NotImplementedError

    def farthest(self, rows: list[Row]) -> list[Row]:
        """The chain of the head's layers with the largest receptive field."""
        return rows

    def assembled(self, layers: dict[str, nn.Module]) -> nn.Module:
        """The head's module, made of its built layers by name."""
        raise NotImplementedError

    def deepen(self, layers: Callable[[int], int]) -> Self:
        """A copy with every number of layers mapped by `layers`."""
        changes = {name: layers(getattr(self, name)) for name in self.deepens}
        return self.replace(**changes) if changes else self

    @property
    def counted(self) -> str:
        """How often a part is counted in the FLOPs, as `1,000 proposals`; empty for once."""
        return ""

    def describe(self) -> str:
        """The operator column of the paper's Table 1."""
        raise NotImplementedError

    def convolution(self, in_channels: int, channels: int, kernel_size: int) -> Layer:
        """A convolution with the head's norm and activation."""
        return convolution_layer(
            in_channels,
            channels,
            kernel_size=kernel_size,
            activation=self.activation,
            norm=self.norm,
            bias=self.norm == "none",
        )

    def scores(self, in_channels: int, num_classes: int, *, kernel_size: int = 1) -> Layer:
        """A bare convolution with bias, from a map to scores."""
        return convolution_layer(
            in_channels,
            num_classes,
            kernel_size=kernel_size,
            activation="none",
            norm="none",
            bias=True,
        )


class PixelHead(DenseHead):
    """A head that scores each pixel: its module gives (N, num_classes, height, width)."""

    dropout: Rate = 0.0
    """Dropout rate before the scores."""

    @property
    def task(self) -> Task:
        """What the network does."""
        return "segmentation"


def told_strides(taps: list[Tap]) -> str:
    """The maps of the body, for an error: `5 maps, at strides 2, 4, 8, 16, 32`."""
    strides = ", ".join(str(tap.stride) for tap in taps)
    return f"{len(taps)} map{'s' * (len(taps) > 1)}, at stride{'s' * (len(taps) > 1)} {strides}"


def fitted(x: Tensor, size: tuple[int, int], mode: Interpolation) -> Tensor:
    """A map (N, C, H, W) interpolated to `size`; a map of that size is not changed."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    if mode == "nearest":
        return functional.interpolate(x, size=size, mode=mode)
    corners = mode == "bilinear_corners"
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=corners)


def framed(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map brought to `size`: cropped, or its last pixels repeated, at the lower and right edges.

    It may differ from `size` by up to a stride, because odd maps do not halve evenly.
    """
    x = x[:, :, : size[0], : size[1]]
    rows, columns = size[0] - x.shape[-2], size[1] - x.shape[-1]
    return functional.pad(x, (0, columns, 0, rows), mode="replicate") if rows or columns else x
