"""An architecture as data: a stem, a table with a row a stage, a head.

Everything that searches, scales, stores, compares or prints works on `Architecture`; only
`build_network` makes modules of it.
"""

import hashlib
import json
from functools import cached_property, lru_cache
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from search_spaces.blocks import AnyBlock, Conventions, Layer
from search_spaces.blocks.block import Channels, Rate
from search_spaces.blocks.window import reach
from search_spaces.heads import AnyHead, Auxiliary, DenseHead, Head, Row, Tap, Task
from search_spaces.records import InputError, Record

Count = Annotated[int, Field(ge=1)]
_COLOURS = 3  # where the number of input channels does not matter


class Stage(Record):
    """A row of the table: `layers` times `block`, the first with `stride`, out of it `channels`."""

    channels: Channels
    """Channels that come out of the stage."""
    layers: Count
    """How many times the block is repeated."""
    stride: Count
    """Stride of the first layer. The others have stride 1."""
    block: AnyBlock
    """The block, named by its `kind`, with the settings of that kind."""


class Stem(Record):
    """The first layer, from the image."""

    channels: Channels
    """Channels that come out of the stem."""
    block: AnyBlock
    """The block of the first layer, usually a convolution."""
    stride: Count
    """Stride of the first layer."""


class Architecture(Record):
    """A network as a table. `resolution` is the side of its input in pixels.

    `drop_connect` is the rate that the last layer nears: layer i of N drops its branch with
    `drop_connect * i / N` (the schedule of the EfficientNet authors' code; the conventions have
    another). `auxiliary` classifiers act in training only.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$")] = "unnamed"
    """A name for tables, figures and files."""
    resolution: Count
    """Side of the square input image, in pixels."""
    stem: Stem
    """The first layer, which reads the image."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    """The stages in order, one row of the table each."""
    head: AnyHead = Head()
    """What turns the last feature map into class scores."""
    auxiliary: tuple[Auxiliary, ...] = ()
    """Extra classifiers inside the network, used in training only."""
    drop_connect: Rate = 0.0
    """The probability that a residual branch is dropped, at the last layer."""
    conventions: Conventions = Conventions()
    """Settings that all layers share, such as the epsilon of batch norm."""

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        self.check(self.resolution)
        return self

    def check(self, resolution: int) -> None:
        """Raise ValueError, with the place, where widths or maps do not fit at `resolution`."""
        sizes = self._sizes_at(resolution)
        self._check_head(sizes)
        if self.auxiliary and self.task != "classification":
            raise ValueError(f"auxiliary: they classify, but the head is {self.head.kind}")
        for i, auxiliary in enumerate(self.auxiliary):
            if any(other.after == auxiliary.after for other in self.auxiliary[:i]):
                raise ValueError(
                    f"auxiliary.{i}: after must differ from the others', but got {auxiliary.after} "
                    f"again"
                )
            if auxiliary.after >= len(self.stages):
                raise ValueError(
                    f"auxiliary.{i}: after must be a stage from 0 to {len(self.stages) - 1}, "
                    f"but got {auxiliary.after}"
                )
            size = sizes[auxiliary.after + 2]
            if size < auxiliary.smallest_map:
                raise ValueError(
                    f"auxiliary.{i}: the map behind stages.{auxiliary.after} is {size} px, too "
                    f"small for it; it needs {auxiliary.smallest_map} px: raise the resolution or "
                    f"put it behind an earlier stage"
                )

    def _check_head(self, sizes: list[int]) -> None:
        """Raise ValueError, with the layer, where there is not the map that it reads."""
        for row in self.head.rows(self.maps(), 1):
            if row.at is None or row.layer.stride == 1:
                continue
            for side in row.sides(sizes, sizes[-1]):
                try:
                    row.layer.output_size(side)
                except ValueError as error:
                    raise ValueError(
                        f"{row.part}: {error} at resolution {sizes[0]}; raise the resolution or "
                        f"take that level away"
                    ) from None

    @property
    def task(self) -> Task:
        """What the network does, by its head: it classifies, segments, or detects."""
        return self.head.task

    @property
    def counted(self) -> str:
        """What its FLOPs hold for beside the pixels, as `1,000 proposals`; empty for nothing."""
        return self.head.counted if isinstance(self.head, DenseHead) else ""

    def maps(self) -> list[Tap]:
        """The maps behind the stem and behind each stage."""
        found, stride = [], 1
        steps = [self.stem.stride, *(stage.stride for stage in self.stages)]
        for i, (layers, step) in enumerate(zip(self._coloured, steps, strict=True)):
            stride *= step
            found.append(Tap(layers[-1].out_channels, i + 1, stride))
        return found

    @cached_property
    def _coloured(self) -> list[list[Layer]]:
        """The layers of the stem and of each stage for colour images; ValueError: see `check`."""
        return self._behind(self._stem_layer(_COLOURS))

    def _resolved(self, in_channels: int) -> list[list[Layer]]:
        """The layers of the stem and of each stage; ValueError where widths do not fit."""
        if in_channels == _COLOURS:
            return self._coloured
        stem = self._stem_layer(in_channels)
        if stem.out_channels == self._coloured[0][0].out_channels:
            return [[stem], *self._coloured[1:]]
        return self._behind(stem)

    def _behind(self, stem: Layer) -> list[list[Layer]]:
        resolved = [[stem]]
        for i, stage in enumerate(self.stages):
            channels = resolved[-1][-1].out_channels
            try:
                resolved.append(_stage_layers(stage, channels))
            except ValueError as error:
                raise ValueError(f"stages.{i}: {error}") from None
        return resolved

    def _stem_layer(self, in_channels: int) -> Layer:
        stem = self.stem
        try:
            layers = stem.block.layers(in_channels, stem.channels, 1, stem.stride)
        except ValueError as error:
            raise ValueError(f"stem: {error}") from None
        if len(layers) > 1:
            raise ValueError(
                f"stem: a stem is one layer, but {stem.block.kind} gives {len(layers)} there"
            )
        return layers[0]

    def _sizes_at(self, resolution: int) -> list[int]:
        sizes = [resolution]
        places = ["stem", *(f"stages.{i}" for i in range(len(self.stages)))]
        for place, layers in zip(places, self._resolved(_COLOURS), strict=True):
            size = sizes[-1]
            try:
                for layer in layers:
                    size = layer.output_size(size)
            except ValueError as error:
                raise ValueError(
                    f"{place}: {error} at resolution {resolution}; "
                    f"raise the resolution or lower a stride"
                ) from None
            sizes.append(size)
        return sizes

    def sizes(self) -> list[int]:
        """Sides of the maps in pixels: the input, after the stem, after each stage."""
        return self._sizes_at(self.resolution)

    def receptive_fields(self) -> list[int]:
        """Sides in pixels of what a pixel behind the stem, behind each stage and the head sees.

        From kernels and strides alone; squeeze-and-excitation and global pooling see everything
        and are left out, fully connected heads are windows of their map's side. Interpolation
        counts as none.
        """
        fields, field, jump = [], 1, 1
        resolved = self._resolved(_COLOURS)
        for layers in resolved:
            for layer in layers:
                grown, jump = reach(layer.paths, jump=jump)
                field += grown
            fields.append(field)
        maps = self.maps()
        jumps = [1, *(tap.stride for tap in maps)]
        rows = self.head.rows(maps, 1)
        for row in self.head.farthest(rows) if isinstance(self.head, DenseHead) else rows:
            at = jump
            if row.at is not None:
                at = jumps[min(row.at, len(jumps) - 1)] << max(row.at - len(jumps) + 1, 0)
            field += reach(row.layer.paths, jump=at)[0]
        return [*fields, field]

    def rows(self, *, num_classes: int, in_channels: int) -> list[Row]:
        """Every layer from image to scores, resolved; InputError for sizes that no network has."""
        if in_channels < 1:
            raise InputError(f"in_channels must be at least 1, but got {in_channels}")
        if num_classes == 0 and self.task != "classification":
            does = "scores pixels" if self.task == "segmentation" else "finds boxes"
            raise InputError(
                f"num_classes must be at least 1 for a head that {does}, but got 0; "
                "`features` of the network gives its maps"
            )
        if num_classes < 0:
            raise InputError(
                f"num_classes must be at least 1, or 0 for the features, but got {num_classes}"
            )
        stem, *stages = self._resolved(in_channels)
        body = [
            (f"stages.{i}.{j}", x) for i, stage in enumerate(stages) for j, x in enumerate(stage)
        ]
        rates = self._drop_rates(len(body))
        return [
            Row("stem", stem[0], 0.0),
            *(Row(p, x, r) for (p, x), r in zip(body, rates, strict=True)),
            *self.head.rows(self.maps(), num_classes),
        ]

    def auxiliary_rows(self, *, num_classes: int) -> list[Row]:
        """The classifiers that act in training only. Without classes there are none."""
        return self._auxiliary_rows(num_classes) if num_classes else []

    def _drop_rates(self, layers: int) -> list[float]:
        if self.conventions.drop_connect_schedule == "constant":
            return [self.drop_connect] * layers
        return [self.drop_connect * i / layers for i in range(layers)]

    @property
    def key(self) -> str:
        """Equal for equal networks: same operators, shapes and attributes, names aside."""
        classifies = self.task == "classification"
        rows = [
            [row.layer.identity(), row.drop_rate if row.layer.residual else 0.0]
            for row in self.rows(num_classes=0 if classifies else 1, in_channels=_COLOURS)
        ]
        pairs = zip(self.auxiliary, self._auxiliary_rows(0), strict=True)
        extra = [[a.after, a.weight, row.layer.identity()] for a, row in pairs]
        whole: list[Any] = [self.resolution, self.conventions.identity(), rows, extra]
        if isinstance(self.head, DenseHead):  # what it reads, and how it joins it
            read = [tap.at for tap in self.head.read(self.maps())]
            whole.append([read, self.head.model_dump(mode="json", exclude={"reads"})])
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:16]

    def _auxiliary_rows(self, num_classes: int) -> list[Row]:
        stages = self._resolved(_COLOURS)[1:]
        return [
            Row(f"auxiliary.{i}", a.layer(stages[a.after][-1].out_channels, num_classes), 0.0)
            for i, a in enumerate(self.auxiliary)
        ]


@lru_cache(maxsize=4096)  # many members of a family, and of a space, share most of their stages
def _stage_layers(stage: Stage, in_channels: int) -> list[Layer]:
    """The stage's layers; ValueError where its block cannot have its channels or layers."""
    block = stage.block
    layers = block.layers(in_channels, stage.channels, stage.layers, stage.stride)
    fixed = block.fixed_layers
    if fixed is not None and stage.layers != fixed:
        raise ValueError(f"layers must be {fixed} for {block.kind}, but got {stage.layers}")
    fitting = block.fitting_channels(stage.channels, in_channels=in_channels, layers=stage.layers)
    if fitting != stage.channels:
        raise ValueError(
            f"channels must be {fitting}, which is what {block.describe()} gives there, "
            f"but got {stage.channels}"
        )
    return layers
