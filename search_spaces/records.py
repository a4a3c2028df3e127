"""Frozen, validated data and the one way its errors are told to the user."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

MANY = 20  # names that an error still lists


class InputError(ValueError):
    """The user's input was wrong: the message names the value, the rule and the way out.

    It prints as one line, whatever the names in it hold.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


def one_line(text: str) -> str:
    r"""What does not print, as a newline in a file's name, becomes its escape (`\n`)."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


class Record(BaseModel):
    """Base of everything that is read from or written to a file: frozen, no unknown keys."""

    # A line under a field is its description in the schema, in `docs/reference` and in editors.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, data: Any, *, source: str) -> Self:
        """Validate `data`; on a mistake raise one InputError that starts with `source`."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InputError(f"{source}: {first_mistake(error, cls)}") from None

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some fields changed."""
        return type(self).model_validate({**dict(self), **changes})

    def pairs(self, *names: str) -> tuple[tuple[str, Any], ...]:
        """The fields of these names with their values, as a layer's arguments."""
        return tuple((name, getattr(self, name)) for name in names)

    def to_yaml(self) -> str:
        """The record as YAML, fields at their defaults left out."""
        return dump_yaml(self.model_dump(mode="json", exclude_defaults=True))


def first_mistake(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first mistake: where it is, the value, the rule, how many more follow."""
    mistakes = error.errors(include_url=False)
    first = mistakes[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        line = f"unknown key '{place}'{_known_siblings(model, first['loc'])}"
    elif first["type"] == "missing":
        line = f"'{place}' is required and is missing"
    elif first["type"] == "value_error":  # raised by our own validators, in the user's words
        line = str(first["ctx"]["error"])
        line = f"{place}: {line}" if place else line
    else:
        shown = repr(first["input"])
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        line = f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}, but got {shown}"
    more = len(mistakes) - 1
    return line + (f" (and {more} more)" if more else "")


def _known_siblings(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """The keys that would have been accepted beside an unknown one, nearest first."""
    kind: Any = model
    for part in location[:-1]:
        fields = getattr(kind, "model_fields", {})
        kind = _record_in(fields[part].annotation) if part in fields else None
    known = list(getattr(kind, "model_fields", {}))
    return f"; {suggest(str(location[-1]), known)}" if known else ""


def _record_in(annotation: Any) -> Any:
    """The record that `Record` or `Record | None` speaks of."""
    kinds = [kind for kind in (annotation, *get_args(annotation)) if hasattr(kind, "model_fields")]
    return kinds[0] if len(kinds) == 1 else None


def suggest(unknown: str, known: Iterable[str]) -> str:
    """`did you mean 'x'? (known: ...)` for an error about an unknown name."""
    names = sorted(known)
    near = difflib.get_close_matches(unknown, names, n=3)
    listed = f"known: {', '.join(names)}"
    if len(names) > MANY:
        listed = f"{len(names)} known, `scaler list` prints them"
        if near[1:]:
            listed = f"also near: {', '.join(near[1:])}; {listed}"
    return f"did you mean '{near[0]}'? ({listed})" if near else listed


def choose(table: Mapping[Any, Any], name: str, *, what: str) -> Any:
    """`table[name]`, or an InputError that lists the known names and the nearest."""
    if name not in table:
        raise InputError(f"unknown {what} '{name}'; {suggest(name, table)}")
    return table[name]


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML (or JSON, which is YAML) file that holds one mapping."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).replace("\n", " ")
        raise InputError(f"'{path}' is not valid YAML or JSON: {reason}") from None
    if not isinstance(data, dict):
        raise InputError(f"'{path}' must hold a mapping of keys to values, but holds {data!r:.40}")
    return data


class _TableDumper(yaml.SafeDumper):
    """Block style outside, flow style for the innermost mappings: a row a stage."""


def _represent_mapping(dumper: _TableDumper, data: dict[str, Any]) -> yaml.Node:
    leaf = not any(isinstance(value, list) for value in data.values())
    return dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=leaf)


_TableDumper.add_representer(dict, _represent_mapping)


def dump_yaml(data: dict[str, Any]) -> str:
    """YAML in which each stage of an architecture is one line, as in the papers' tables."""
    lines = []
    for key, value in data.items():
        lines.append(
            yaml.dump(
                {key: value},
                Dumper=_TableDumper,
                sort_keys=False,
                width=200,
                default_flow_style=None,
            )
            if isinstance(value, list)
            else f"{key}: {_inline(value)}\n"
        )
    return "".join(lines)


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("...\n").strip()
