"""The arena that ExecuTorch plans for a classifier as int8 on a Cortex-M: kernels of CMSIS-NN.

It is larger than the maps that live at one time (`scaler.memory`) for three reasons: the kernels
need scratch, operators that its quantiser leaves out need float32 maps, and the planner's placement
leaves gaps. The planner (`greedy` in exir/memory_planning.py of ExecuTorch 1.5) takes the tensors
from the largest to the smallest. Each goes to the first block in which no tensor lives at the same
time; else to the first with room behind all that do; else it begins a block. The arena is the sum
of the blocks.

Equal tensors it takes in the order of a Python set of objects, which differs from export to export,
and the arena with it. docs/choosing.md shows how to give it an order; then the arena is known to
the byte. The image counts: ExecuTorch's programs take it as float32 unless they are told.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from scaler.memory import ALIGNMENT
from scaler.memory_law import Tensors, tensors_of
from search_spaces.architecture import Architecture
from search_spaces.heads.head import DenseHead

Core = Literal["cortex-m0+", "cortex-m4"]  # without and with DSP instructions, as M7 and M33
_CORES: tuple[Core, ...] = ("cortex-m0+", "cortex-m4")  # in the order of `Step.scratch`
Image = Literal["int8", "float32"]  # what the program is given
_DRAWN = 20  # random orders of equal tensors that `most` is over
_FLOAT = 4  # bytes


@dataclass(frozen=True)
class Arena:
    """Bytes that the planner reserves.

    `in_order` where equal tensors come as they are made, or the last first, whichever needs less;
    `most` over random orders, as the planner has them unless it is told.
    """

    in_order: int
    most: int


class _Block(NamedTuple):
    """A part of the arena, and what is in it: where that ends, its first and last step."""

    size: int
    inside: list[tuple[int, int, int]]


class Lifetime(NamedTuple):
    """A tensor of a program: its bytes, the step that makes it, the last step that reads it."""

    size: int
    begin: int
    end: int


@dataclass
class _Program:
    """Steps in the order of execution, which have even numbers, and the tensors that they make."""

    tensors: list[Lifetime] = field(default_factory=list)
    now: int = 0

    def step(self, size: int, *read: int, scratch: int = 0) -> int:
        """The next step, which reads tensors and makes one of `size` bytes; that one's number."""
        self.now += 2
        for number in read:
            self.tensors[number] = self.tensors[number]._replace(end=self.now)
        if scratch:
            self.add(scratch, self.now)
        return self.add(size, self.now)

    def dequantised(self, number: int) -> int:
        """A float32 copy of a tensor, which the quantiser puts right behind what makes that."""
        size, begin, end = self.tensors[number]
        self.tensors[number] = Lifetime(size, begin, max(end, begin + 1))
        return self.add(_FLOAT * size, begin + 1)

    def add(self, size: int, begin: int) -> int:
        """A tensor that no step reads yet."""
        self.tensors.append(Lifetime(-(-size // ALIGNMENT) * ALIGNMENT, begin, begin))
        return len(self.tensors) - 1


def measure_arena(
    architecture: Architecture,
    core: Core = "cortex-m4",
    image: Image = "int8",
    /,
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Arena | None:
    """The arena; None for a head that scores pixels or finds boxes, where it was not measured."""
    if isinstance(architecture.head, DenseHead):
        return None
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    tensors = lifetimes(architecture, core, image, **sizes)
    drawn = random.Random(0)
    orders = [tensors, tensors[::-1]]
    orders += [drawn.sample(tensors, len(tensors)) for _ in range(_DRAWN)]
    arenas = [placed(order) for order in orders]
    return Arena(min(arenas[:2]), max(arenas))


def arena_text(
    architecture: Architecture,
    *,
    limit: float = math.inf,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> str:
    """The arena in a sentence, with what to do where it is over a limit of RAM; "" for None."""
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    arena = measure_arena(architecture, **sizes)
    if arena is None:
        return ""
    text = f"ExecuTorch's arena has {arena.in_order:,} bytes"
    if arena.most > arena.in_order:
        text += f" if its planner takes equal maps in order, else up to {arena.most:,}"
    tensors = lifetimes(architecture, "cortex-m4", "float32", **sizes)
    floats = min(placed(tensors), placed(tensors[::-1]))
    if floats > arena.in_order:
        text += f", and {floats:,} if the image comes as float32"
    if arena.in_order <= limit:
        return text + (f"; the limit is {limit:,.0f}" if max(arena.most, floats) > limit else "")
    room = int(limit**2 / arena.in_order)
    named = f"{room // 1024}KiB" if room >= 1024 else f"{room}"
    return (
        f"{text}; that is over the limit of {limit:,.0f}, which counts the maps alone: leave room, "
        f"as --max-ram {named}"
    )


def lifetimes(
    architecture: Architecture, core: Core, image: Image, *, num_classes: int, in_channels: int
) -> list[Lifetime]:
    """All tensors of a classifier's program up to its float32 scores, in the order of steps."""
    program = _Program()
    pixels = in_channels * architecture.resolution**2
    given = [program.step(_FLOAT * pixels)] if image == "float32" else []
    made = program.step(pixels, *given)
    for tensors in _rows(architecture, num_classes, in_channels):
        made = _add_row(program, tensors, made, _CORES.index(core))
    program.step(0, program.step(_FLOAT * num_classes, made))  # the last hands them over
    return sorted(program.tensors, key=lambda one: one.begin)


def _rows(architecture: Architecture, num_classes: int, in_channels: int) -> Iterator[Tensors]:
    size = architecture.resolution
    for row in architecture.rows(num_classes=num_classes, in_channels=in_channels):
        yield tensors_of(row.layer, size, architecture.conventions)
        if row.part != "head":
            size = row.layer.output_size(size)


def _add_row(program: _Program, row: Tensors, given: int, core: int) -> int:
    """Adds the steps of a row that reads the tensor `given`; its output."""
    made = [given]
    for number, inputs in enumerate(row.inputs[1:], start=1):
        size, read, scratch = row.elements[number], [made[i] for i in inputs], 0
        if row.floats[number]:
            read = [program.dequantised(one) for one in read]
            for _ in range(1, row.floats[number]):
                read = [program.step(program.tensors[one].size, one) for one in read]
            read = [program.step(_FLOAT * size, *read)]
        else:
            scratch = row.scratch[number][core]
        made.append(program.step(size, *read, scratch=scratch))
    return made[row.output]


def placed(tensors: list[Lifetime]) -> int:
    """Bytes of the arena; equal tensors are taken in the order of the list."""
    blocks: list[_Block] = []
    for size, begin, end in sorted(tensors, key=lambda tensor: -tensor.size):
        tops = [
            max((top for top, b, e in block.inside if b <= end and begin <= e), default=0)
            for block in blocks
        ]
        rooms = [i for i, top in enumerate(tops) if top + size <= blocks[i].size]
        if 0 in tops:
            chosen = tops.index(0)
        elif rooms:
            chosen = rooms[0]
        else:
            chosen = len(blocks)
            blocks.append(_Block(size, []))
            tops.append(0)
        blocks[chosen].inside.append((tops[chosen] + size, begin, end))
    return sum(block.size for block in blocks)
