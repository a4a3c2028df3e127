"""A network's layers as calls of their constructors; what repeats as loops."""

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from experiments.export.expressions import Call, Name, Repeated
from search_spaces.architecture import Architecture, Row
from search_spaces.blocks import Layer

CONVENTIONS = Name("CONVENTIONS")


class Shared(NamedTuple):
    """A class of layers that stands in the network more than once, and what is equal in all."""

    name: str  # of the local function
    arguments: tuple[tuple[str, Any], ...]


def shared_arguments(layers: list[Layer]) -> dict[str, Shared]:
    shared = {}
    for kind in dict.fromkeys(layer.module.__name__ for layer in layers):
        alike = [layer for layer in layers if layer.module.__name__ == kind]
        if len(alike) == 1:
            continue
        equal = tuple(
            (key, value)
            for key, value in _keywords(alike[0])
            if all((key, value) in _keywords(other) for other in alike)
        )
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()
        shared[kind] = Shared(name, equal)
    return shared


def _keywords(layer: Layer) -> tuple[tuple[str, Any], ...]:
    """What the module's constructor is given, what it takes by default left out."""
    parameters = inspect.signature(layer.module).parameters
    given = ("stride", layer.stride), *layer.arguments, ("conventions", CONVENTIONS)
    return tuple(
        (key, value)
        for key, value in given
        if key not in parameters or parameters[key].default != value
    )


def stage_calls(
    architecture: Architecture, rows: list[Row], stage: int, shared: dict[str, Shared]
) -> Iterator[Any]:
    """The stage's layers; equal neighbours, and those that grow by equal steps, as one loop."""
    body = rows[1:-1]
    place = [n for n, row in enumerate(body) if row.part.startswith(f"stages.{stage}.")]
    while place:
        count = _run_length([body[n].layer for n in place])
        run, place = place[:count], place[count:]
        first = body[run[0]].layer
        growth = body[run[1]].layer.in_channels - first.in_channels if count > 1 else 0
        rate: Any = body[run[0]].drop_rate
        linear = architecture.conventions.drop_connect_schedule == "linear"
        rises = linear and first.residual and architecture.drop_connect > 0
        if rises:
            number = "i" if count > 1 else str(run[0])
            rate = Name(f"{architecture.drop_connect} * {number} / {len(body)}")
        numbers = range(run[0], run[0] + count) if rises else range(count)
        sides = (first.in_channels, first.out_channels)
        inside, outside = (Name(f"{n} + {growth} * i") if growth else n for n in sides)
        call = layer_call(first, shared, in_channels=inside, out_channels=outside, drop_rate=rate)
        yield Repeated(call, numbers, "i" if rises or growth else "_") if count > 1 else call


def _run_length(layers: list[Layer]) -> int:
    """How many layers from the first differ in nothing but equal steps of their widths."""
    first, count = layers[0], 1
    step = layers[1].in_channels - first.in_channels if len(layers) > 1 else 0
    if step and first.residual:
        return 1
    for n, layer in enumerate(layers[1:], start=1):
        same = (layer.module, _keywords(layer), layer.residual) == (
            first.module,
            _keywords(first),
            first.residual,
        )
        inside, outside = layer.in_channels - first.in_channels, layer.out_channels
        if not (same and inside == n * step == outside - first.out_channels):
            break
        count += 1
    return count


def layer_call(
    layer: Layer,
    shared: dict[str, Shared],
    *,
    in_channels: Any = None,
    out_channels: Any = None,
    drop_rate: Any = 0.0,
) -> Call:
    kind = layer.module.__name__
    common = shared.get(kind, Shared(kind, ()))
    keywords = tuple(pair for pair in _keywords(layer) if pair not in common.arguments)
    if layer.residual:
        keywords += (("drop_rate", drop_rate),)
    sides = (
        layer.in_channels if in_channels is None else in_channels,
        layer.out_channels if out_channels is None else out_channels,
    )
    return Call(common.name, sides, keywords)
