"""Python expressions as data, and their text: on one line where it fits, else an item a line."""

import json
from typing import Any, NamedTuple

_WIDTH = 100


class Name(str):
    """Text that stands in the code as it is."""


class Call(NamedTuple):
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
