"""An architecture as data: a stem, a table with a row a stage, a head.

Everything that searches, scales, stores, compares or prints works on `Architecture`; only
`build_network` makes modules of it.
"""

import hashlib
import json
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from search_spaces.blocks import AnyBlock, Conventions, Layer
from search_spaces.blocks.block import Channels, Rate
from search_spaces.head import Head
from search_spaces.records import Record

Count = Annotated[int, Field(ge=1)]


class Stage(Record):
    """A row of the table: `layers` times `block`, the first with `stride`, out of it `channels`."""

    channels: Channels
    layers: Count
    stride: Count
    block: AnyBlock


class Stem(Record):
    """The first layer, from the image."""

    channels: Channels
    block: AnyBlock
    stride: Count


class Row(NamedTuple):
    """One resolved layer in its place: `part` is `stem`, `stages.<i>.<j>` or `head`."""

    part: str
    layer: Layer
    drop_rate: float


class Architecture(Record):
    """A network as a table. `resolution` is the side of its input in pixels.

    `drop_connect` is the rate that the last layer nears: layer i of N drops its branch with
    `drop_connect * i / N` (the schedule of the EfficientNet authors' code).
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$")] = "unnamed"
    resolution: Count
    stem: Stem
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    head: Head = Head()
    drop_connect: Rate = 0.0
    conventions: Conventions = Conventions()

    @model_validator(mode="after")
    def _map_holds_every_stride(self) -> Self:
        size = self.resolution
        places = ["stem", *(f"stages.{i}" for i in range(len(self.stages)))]
        for place, row in zip(places, self._spatial_rows(), strict=True):
            if row.stride > size:
                raise ValueError(
                    f"{place}: stride {row.stride} must not exceed the feature map, which is "
                    f"{size} px there at resolution {self.resolution}; "
                    f"raise the resolution or lower a stride"
                )
            size = row.block.output_size(size, row.stride)
        return self

    def rows(self, *, num_classes: int, in_channels: int) -> list[Row]:
        """Every layer from image to scores, resolved."""
        stem = self.stem.block.layer(in_channels, self.stem.channels, self.stem.stride)
        body = []
        channels = stem.out_channels
        for i, stage in enumerate(self.stages):
            layers = stage.block.layers(channels, stage.channels, stage.layers, stage.stride)
            body += [(f"stages.{i}.{j}", layer) for j, layer in enumerate(layers)]
            channels = layers[-1].out_channels
        rates = [self.drop_connect * i / len(body) for i in range(len(body))]
        return [
            Row("stem", stem, 0.0),
            *(Row(p, x, r) for (p, x), r in zip(body, rates, strict=True)),
            Row("head", self.head.layer(channels, num_classes), 0.0),
        ]

    @property
    def key(self) -> str:
        """Equal for equal networks: same operators, shapes and attributes, names aside."""
        rows = [
            [row.layer.identity(), row.drop_rate if row.layer.residual else 0.0]
            for row in self.rows(num_classes=0, in_channels=0)
        ]
        whole = [self.resolution, self.conventions.model_dump(), rows]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:16]

    def _spatial_rows(self) -> "list[Stem | Stage]":
        return [self.stem, *self.stages]

    def sizes(self) -> list[int]:
        """Sides of the maps in pixels: the input, after the stem, after each stage."""
        sizes = [self.resolution]
        for row in self._spatial_rows():
            sizes.append(row.block.output_size(sizes[-1], row.stride))
        return sizes
