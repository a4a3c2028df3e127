"""A network's layers as calls of their constructors, as text; what repeats as loops."""

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from search_spaces.architecture import Architecture
from search_spaces.blocks import Layer
from search_spaces.heads import Row

_WIDTH = 100


class Name(str):
    """Text that stands in the code as it is."""


class Call(NamedTuple):
    """A call in printed code."""

    function: str
    positional: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...] = ()


class Items(NamedTuple):
    """Expressions in brackets, as `[` and `]`."""

    opening: str
    items: tuple[Any, ...]
    closing: str


class Repeated(NamedTuple):
    """`*(expression for i in range(...))`; the variable is `_` where it does not matter."""

    expression: Any
    numbers: range
    variable: str


def written(value: Any, *, indent: int = 0, room: int = 0) -> str:
    """The text of `value` from column `indent`; `room` columns are taken on its first line."""
    flat = _flat(value)
    if indent + room + len(flat) < _WIDTH or not isinstance(value, Call | Items | Repeated | tuple):
        return flat
    inner = indent + 4
    if isinstance(value, Repeated):
        pieces = [written(value.expression, indent=inner), _header(value)]
        opening, closing, comma = "*(", ")", ""
    else:
        opening, items, closing = _opened(value)
        pieces = [
            (f"{key}=" if key else "") + written(item, indent=inner, room=len(key) + 2)
            for key, item in items
        ]
        comma = ","
    joined = ", ".join(pieces) if comma else " ".join(pieces)
    if "\n" not in joined and inner + len(joined) < _WIDTH:
        pieces, comma = [joined], ""
    lines = [f"{' ' * inner}{piece}{comma}\n" for piece in pieces]
    return f"{opening}\n{''.join(lines)}{' ' * indent}{closing}"


def _opened(value: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """What opens, the items by keyword (or ""), what closes."""
    value = _as_call(value)
    if isinstance(value, Call):
        items = [("", item) for item in value.positional] + list(value.keywords)
        return f"{value.function}(", items, ")"
    if isinstance(value, Items):
        return value.opening, [("", item) for item in value.items], value.closing
    return "(", [("", item) for item in value], ")"


def _flat(value: Any) -> str:
    if isinstance(value, Name):
        return value
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Repeated):
        return f"*({_flat(value.expression)} {_header(value)})"
    if not isinstance(value, tuple):
        return repr(value)
    opening, items, closing = _opened(value)
    inside = ", ".join((f"{key}=" if key else "") + _flat(item) for key, item in items)
    single = opening == "(" and len(items) == 1
    return f"{opening}{inside}{',' if single else ''}{closing}"


def _header(loop: Repeated) -> str:
    numbers = loop.numbers
    bounds = f"{numbers.start}, {numbers.stop}" if numbers.start else str(numbers.stop)
    return f"for {loop.variable} in range({bounds})"


def _as_call(value: Any) -> Any:
    """A named tuple of ours as the call that makes it, defaults left out."""
    if isinstance(value, Call | Items) or not hasattr(value, "_fields"):
        return value
    defaults = value._field_defaults
    given = [
        (field, item)
        for field, item in zip(value._fields, value, strict=True)
        if field not in defaults or defaults[field] != item
    ]
    leading = 0
    while leading < len(given) and given[leading][0] == value._fields[leading]:
        leading += 1
    positional = tuple(item for _, item in given[:leading])
    return Call(type(value).__name__, positional, tuple(given[leading:]))


CONVENTIONS = Name("CONVENTIONS")


class Shared(NamedTuple):
    """A class of layers that stands in the network more than once, and what is equal in all."""

    name: str  # of the local function
    arguments: tuple[tuple[str, Any], ...]


def shared_arguments(layers: list[Layer]) -> dict[str, Shared]:
    """The arguments that all layers of a kind have alike, by the kind's name."""
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
    """The call that builds a layer, without what is shared."""
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
