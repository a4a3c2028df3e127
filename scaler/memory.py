"""What a network needs of a device: RAM for its maps at the worst moment, flash for its weights.

RAM is the largest sum of the tensors that live at one time, in the order in which the network's own
code makes them, as ExecuTorch and TensorFlow Lite Micro do (which tensors there are:
`scaler.memory_graph`). Tensors begin at multiples of 16 bytes, as there. MobileNetV2 at 224 px
needs 1,505,280 bytes as int8, what ExecuTorch's planner gives it; docs/choosing.md says what a
runtime takes beside the maps, and `experiments.benchmarks.memory` measures it.

Layers follow one another, so the network's peak is that of its worst layer. Only the maps that a
dense head reads live on beside the layers behind them. A detector's scores and sides live until its
last map is made; what becomes of them (anchors, non-maximum suppression) is not counted. The second
stage looks at all its regions at once, as torchvision's does.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch

from scaler.memory_graph import trace_head
from scaler.memory_law import Tensors, tensors_of
from search_spaces.architecture import Architecture
from search_spaces.blocks import Conventions
from search_spaces.heads.head import DenseHead, Tap

Precision = Literal["int8", "float16", "float32"]
BYTES: dict[Precision, int] = {"int8": 1, "float16": 2, "float32": 4}
ALIGNMENT = 16  # bytes; ExecuTorch's and TensorFlow Lite Micro's
_CHANNEL = 4  # bytes of a bias (int32) and of a scale (float32) at int8


@dataclass(frozen=True)
class RowMemory:
    """A row of a network: bytes of all that lives at its worst moment, bytes of its weights."""

    part: str
    ram: int
    flash: int


def measure_memory(
    architecture: Architecture,
    *,
    precision: Precision,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> tuple[int, int]:
    """Bytes of RAM at the peak and of flash."""
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    rows = list(memory_rows(architecture, precision=precision, **sizes))
    return max(row.ram for row in rows), sum(row.flash for row in rows)


def memory_rows(
    architecture: Architecture,
    *,
    precision: Precision = "int8",
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Iterator[RowMemory]:
    """Each row in turn, in the order of execution. All rows of a dense head have its peak."""
    conventions, sides = architecture.conventions, architecture.sizes()
    read: list[Tap] = []
    head = 0
    if isinstance(architecture.head, DenseHead):
        maps = architecture.maps()
        read = architecture.head.read(maps)
        told = (tuple(maps), tuple(sides), num_classes, conventions, precision)
        head = _head_ram(architecture.head, *told)
    bytes_of = {tap.at: _bytes(tap.channels * sides[tap.at] ** 2, precision) for tap in read}
    size = architecture.resolution
    for row in architecture.rows(num_classes=num_classes, in_channels=in_channels):
        (side, *_) = row.sides(sides, size)
        tensors = tensors_of(row.layer, side, conventions)
        ram = head
        if row.at is None:
            at, first = _reads(row.part)
            kept = sum(held for tap, held in bytes_of.items() if tap <= at - first)
            own = first and at in bytes_of
            ram = kept + peak_ram(tensors, precision, keeps_input=own)
        yield RowMemory(row.part, ram, flash(tensors, precision))
        if row.at is None and row.part != "head":
            size = row.layer.output_size(size)


def _reads(part: str) -> tuple[int, bool]:
    """Of a row of the body the last map between stages that is made, and whether it reads that."""
    kind, *place = part.split(".")
    if kind != "stages":
        return 0, True  # the stem reads the image; a classifier keeps no map
    return int(place[0]) + 1, place[1] == "0"


def peak_ram(tensors: Tensors, precision: Precision, *, keeps_input: bool = False) -> int:
    """Bytes at the worst moment, in the order of the steps."""
    return _in_order(_sizes(tensors, precision), tensors.inputs, tensors.output, keeps_input)


def _sizes(tensors: Tensors, precision: Precision) -> tuple[int, ...]:
    return tuple(_bytes(count, precision) for count in tensors.elements)


def _bytes(elements: int, precision: Precision) -> int:
    return -(-elements * BYTES[precision] // ALIGNMENT) * ALIGNMENT


def flash(tensors: Tensors, precision: Precision) -> int:
    """Bytes of the weights; as int8 with a bias of 32 bits and a scale for each channel."""
    if precision != "int8":
        return BYTES[precision] * (tensors.weights + tensors.biases)
    return tensors.weights + _CHANNEL * (tensors.biases + tensors.scales)


@lru_cache(maxsize=65_536)
def _in_order(
    sizes: tuple[int, ...], inputs: tuple[tuple[int, ...], ...], output: int, keeps_input: bool
) -> int:
    """The peak as the steps stand. A tensor that is made from none lives from the beginning."""
    last = {used: step for step, made in enumerate(inputs) for used in made}
    last |= {output: len(sizes)} | ({0: len(sizes)} if keeps_input else {})
    begun = [step if made else 0 for step, made in enumerate(inputs)]
    return max(
        sum(
            size
            for other, size in enumerate(sizes)
            if begun[other] <= step <= last.get(other, other)
        )
        for step in range(len(sizes))
    )


@lru_cache(maxsize=4096)
def _head_ram(
    head: DenseHead,
    maps: tuple[Tap, ...],
    sides: tuple[int, ...],
    num_classes: int,
    conventions: Conventions,
    precision: Precision,
) -> int:
    """The peak of a dense head, which begins with all the maps that it reads."""
    with torch.device("meta"):  # shapes are enough
        layers = {
            row.part.removeprefix("head."): row.layer.build(conventions)
            for row in head.rows(list(maps), num_classes)
        }
        module = head.assembled(layers)
    read = [(tap.channels, sides[tap.at], sides[tap.at]) for tap in head.read(list(maps))]
    graph = trace_head(module, read, (sides[0], sides[0]))
    sizes = tuple(_bytes(step.times * math.prod(step.shape), precision) for step in graph.steps)
    inputs = tuple(step.inputs for step in graph.steps)
    return _in_order(sizes, inputs, graph.output, False)
