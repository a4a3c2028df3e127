"""The one way to grow or shrink an architecture, and the rounding rules it keeps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.blocks.block import Widening
from search_spaces.blocks.block import round_channels as round_channels
from search_spaces.records import InputError, choose

_DUST = 1e-9  # 2.2 * 25 is 55.000000000000007 in floats: that is 55 repeats, not 56


def round_layers(layers: int, depth: float) -> int:
    """`layers * depth`, rounded up, at least 1 (`round_repeats` of the same file)."""
    if depth == 1:
        return layers
    return max(1, math.ceil(layers * depth - _DUST))


def round_channels_to_nearest(channels: int, width: float, *, divisor: int = 8) -> int:
    """`channels * width` to the nearest multiple of 8, at least 8, with no 90 % rule (pycls)."""
    return channels if width == 1 else max(divisor, round(channels * width / divisor) * divisor)


def round_layers_to_nearest(layers: int, depth: float) -> int:
    """`layers * depth` to the nearest whole number, halves to the even one, at least 1 (pycls)."""
    return layers if depth == 1 else max(1, round(layers * depth))


RoundingName = Literal["ceil", "nearest"]


@dataclass(frozen=True)
class Rounding:
    """How widths, layers and pixels become whole numbers."""

    channels: Callable[[int, float], int]
    layers: Callable[[int, float], int]
    pixels: int  # the resolution is a multiple of it


# `ceil` is EfficientNet's, by what it does to layers; `nearest` is pycls's (pycls/models/scaler.py,
# arXiv:2103.06877), whose images are multiples of 4 px.
ROUNDINGS: dict[RoundingName, Rounding] = {
    "ceil": Rounding(round_channels, round_layers, 1),
    "nearest": Rounding(round_channels_to_nearest, round_layers_to_nearest, 4),
}


@dataclass(frozen=True)
class Widened:
    """A widening by a factor; equal ones are one, so that what was widened can be remembered."""

    rounded: Callable[[int, float], int]
    factor: float

    def __call__(self, channels: int) -> int:
        return self.rounded(channels, self.factor)


def rounding_of(name: RoundingName) -> Rounding:
    """InputError for an unknown name."""
    rounding: Rounding = choose(ROUNDINGS, name, what="rounding")
    return rounding


def round_resolution(resolution: int, growth: float, *, rounding: RoundingName = "ceil") -> int:
    """`resolution * growth` in whole pixels; a growth of exactly 1 changes nothing."""
    if growth == 1:
        return resolution
    step = rounding_of(rounding).pixels
    return max(step, round(resolution * growth / step) * step)


def resize(
    architecture: Architecture,
    *,
    depth: float = 1.0,
    width: float = 1.0,
    resolution: int | None = None,
    fix_stem_and_head: bool = False,
    rounding: RoundingName = "ceil",
    name: str | None = None,
) -> Architecture:
    """Multiply layers by `depth` and channels by `width`; set the input to `resolution` pixels.

    Stem, head, first and last stage are scaled like the rest, as in EfficientNet; with
    `fix_stem_and_head` the channels of stem and head and the layers of the first and last stage
    stay, as in the Lite family. A factor of exactly 1 changes nothing. `rounding` is EfficientNet's
    (`ceil`) or pycls's (`nearest`). Raises InputError for
    factors that are not positive and finite, and for a resolution that the strides do not fit.
    """
    for what, factor in (("depth", depth), ("width", width)):
        if not (math.isfinite(factor) and factor > 0):
            raise InputError(f"{what} must be a positive number, but got {factor}")
    last = len(architecture.stages) - 1
    rule = rounding_of(rounding)

    widened = Widened(rule.channels, width)
    ends = Widened(rule.channels, 1.0) if fix_stem_and_head else widened
    layers = [
        stage.layers
        if fix_stem_and_head and i in (0, last)
        else deepened(stage, depth, rounding=rounding)
        for i, stage in enumerate(architecture.stages)
    ]
    return reshape(
        architecture,
        layers=layers,
        widenings=[ends, *[widened] * len(layers), ends],
        resolution=architecture.resolution if resolution is None else resolution,
        head_layers=lambda count: rule.layers(count, depth),
        name=name,
    )


def reshape(
    architecture: Architecture,
    *,
    layers: Sequence[int],
    widenings: Sequence[Widening],
    resolution: int,
    head_layers: Callable[[int], int] | None = None,
    name: str | None = None,
) -> Architecture:
    """The architecture with these layers in its stages, and with other widths and pixels.

    `widenings` map the baseline's channels: of the stem, of each stage, of the head. `head_layers`
    maps the layers of a head that has some; without it they grow as those of the stages together,
    to the nearest whole number. Blocks that
    tie their widths together may change what comes out. Raises InputError where nothing fits.
    """
    stem, head = architecture.stem, architecture.head
    stem = stem.replace(channels=widenings[0](stem.channels), block=stem.block.widen(widenings[0]))
    stages: list[Stage] = []
    channels = stem.channels
    for stage, count, widening in zip(architecture.stages, layers, widenings[1:-1], strict=True):
        grown, channels = _grown(stage, count, widening, channels)
        stages.append(grown)
    changed = {
        "name": name or architecture.name,
        "stem": stem,
        "stages": tuple(stages),
        "head": head.widen(widenings[-1]).deepen(head_layers or _as_stages(architecture, layers)),
        "auxiliary": tuple(a.widen(widenings[a.after + 1]) for a in architecture.auxiliary),
    }
    try:
        return architecture.replace(resolution=resolution, **changed)
    except ValueError as error:
        least = smallest_resolution(architecture)
        if resolution >= least:
            raise InputError(f"'{architecture.name}' cannot be resized so: {error}") from None
        raise InputError(
            f"resolution {resolution} is too small for the strides of '{architecture.name}'; "
            f"use {least} px or more"
        ) from None


def _as_stages(architecture: Architecture, layers: Sequence[int]) -> Callable[[int], int]:
    """Grows a number of layers by the factor of all stages' layers; pools do not count."""
    pairs = zip(architecture.stages, layers, strict=True)
    counts = [(s.layers, count) for s, count in pairs if s.block.fixed_layers is None]
    before, now = (sum(numbers) for numbers in zip((0, 0), *counts, strict=True))
    return lambda count: max(1, round(count * now / before)) if before else count


def deepened(stage: Stage, depth: float, *, rounding: RoundingName = "ceil") -> int:
    """Layers times `depth`; blocks that cannot be repeated (pools, reductions) keep theirs."""
    return stage.block.fixed_layers or rounding_of(rounding).layers(stage.layers, depth)


def place_widths(architecture: Architecture) -> list[list[int]]:
    """The distinct widths that grow in the stem, in each stage and in the head, channels first."""
    stem, head = architecture.stem, architecture.head
    places: list[list[int]] = []

    def note(channels: int) -> int:
        """Keep a width that the part asks to grow, unchanged."""
        places[-1].append(channels)
        return channels

    parts: list[Stem | Stage] = [stem, *architecture.stages]
    for part in parts:
        places.append([part.channels])
        part.block.widen(note)
    places.append([])
    head.widen(note)
    return [list(dict.fromkeys(widths)) for widths in places]


@lru_cache(maxsize=4096)
def _grown(stage: Stage, layers: int, widening: Widening, in_channels: int) -> tuple[Stage, int]:
    """The stage with other layers and widths, and the width that then comes out of it."""
    block = stage.block.widen(widening)
    channels = block.fitting_channels(
        widening(stage.channels), in_channels=in_channels, layers=layers
    )
    grown = stage.replace(layers=layers, channels=channels, block=block)
    resolved = block.layers(in_channels, channels, layers, stage.stride)
    return grown, resolved[-1].out_channels


def smallest_resolution(architecture: Architecture) -> int:
    """The least input side in pixels at which every stride still has a map to stride over."""
    for size in range(1, architecture.resolution + 1):
        try:
            architecture.check(size)
        except ValueError:
            continue
        return size
    raise AssertionError("an architecture is valid at its own resolution")
