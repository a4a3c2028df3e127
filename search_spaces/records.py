"""Frozen, validated data and the one way its errors are told to the user."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from search_spaces.errors import InputError as InputError
from search_spaces.yaml_text import YamlDumper, read_yaml

MANY = 20  # names, and mistakes, that an error still lists
_BYTES = 2**22  # a file of 4 MiB is no config and no architecture; it takes minutes to read


class Record(BaseModel):
    """Base of everything that is read from or written to a file: frozen, no unknown keys."""

    # A line under a field is its description in the schema, in `docs/reference` and in editors.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, data: Any, *, source: str) -> Self:
        """Validate `data`. Raises one InputError with all mistakes, in one line."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InputError(f"{source}: {_all_mistakes(cls, data, error)}") from None

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some fields changed. Raises InputError where a rule is broken."""
        try:
            return type(self).model_validate({**dict(self), **changes})
        except ValidationError as error:
            raise InputError(first_mistake(error, type(self))) from None

    def pairs(self, *names: str) -> tuple[tuple[str, Any], ...]:
        """The fields of these names with their values, as a layer's arguments."""
        return tuple((name, getattr(self, name)) for name in names)

    def to_yaml(self) -> str:
        """The record as YAML, fields at their defaults left out."""
        return dump_yaml(self.model_dump(mode="json", exclude_defaults=True))


class KeyMistakeError(ValueError):
    """A mistake in what `key` says, found by a rule that is asked before the fields are."""

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        self.key = key


_FIRST = {"extra_forbidden": 0, "missing": 1}  # an unknown key often explains the other mistakes


def _all_mistakes(model: type[BaseModel], data: Any, error: ValidationError) -> str:
    """Every mistake in one line, the unknown keys first.

    Some rules are asked only where the values before them are right. So what is wrong is taken
    out, and the rest is checked again.
    """
    found: list[ErrorDetails] = []
    taken_out: set[tuple[int | str, ...]] = set()
    while True:
        known = {(mistake["loc"], mistake["msg"]) for mistake in found}
        errors = [m for m in error.errors(include_url=False) if m["loc"] not in taken_out]
        found += [m for m in errors if (m["loc"], m["msg"]) not in known]
        places = {_place_of(mistake) for mistake in found} - taken_out
        data, changed = _without(data, places)
        taken_out |= places
        if not changed:
            break
        try:
            model.model_validate(data)
            break
        except ValidationError as next_error:
            error = next_error
    mistakes = sorted(found, key=lambda mistake: _FIRST.get(mistake["type"], 2))
    lines = [_line(mistakes[0], model), *(_line(m, model, brief=True) for m in mistakes[1:])]
    more = [*lines[1:MANY], *([f"{len(lines) - MANY} more"] if len(lines) > MANY else [])]
    return lines[0] + (f"; also: {'; '.join(more)}" if more else "")


def _place_of(mistake: ErrorDetails) -> tuple[int | str, ...]:
    key = getattr(mistake.get("ctx", {}).get("error"), "key", None)
    return mistake["loc"] if key is None else (*mistake["loc"], key)


def _without(data: Any, places: Iterable[tuple[int | str, ...]]) -> tuple[Any, bool]:
    """A copy of `data` without the keys at `places`, and whether any was there to be taken out."""
    changed = False
    for place in places:
        if place and isinstance(data, dict) and place[0] in data:
            data = dict(data)
            if place[1:]:
                data[place[0]], inside = _without(data[place[0]], (place[1:],))
            else:
                del data[place[0]]
                inside = True
            changed = changed or inside
    return data, changed


def first_mistake(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first mistake, and how many more follow."""
    mistakes = error.errors(include_url=False)
    more = f" (and {len(mistakes) - 1} more)" if mistakes[1:] else ""
    return _line(mistakes[0], model) + more


def _line(mistake: ErrorDetails, model: type[BaseModel], *, brief: bool = False) -> str:
    """Where a mistake is, the value and the rule; if `brief`, without the list of known keys."""
    place = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "extra_forbidden":
        return f"unknown key '{place}'{_hint(model, mistake['loc'], brief=brief)}"
    if mistake["type"] == "missing":
        return f"'{place}' is required and is missing"
    if mistake["type"] == "union_tag_not_found":
        return f"'{place}.kind' is required and is missing"
    if mistake["type"] == "union_tag_invalid":
        known = [tag.strip(" '") for tag in mistake["ctx"]["expected_tags"].split(",")]
        tag = mistake["ctx"]["tag"]
        return f"{place}: unknown kind '{tag}'; {suggest(tag, known)}"
    if mistake["type"] == "value_error":  # raised by our own validators, in the user's words
        line = str(mistake["ctx"]["error"])
        return f"{place}: {line}" if place else line
    shown = repr(mistake["input"])
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return f"{place}: {mistake['msg'][:1].lower()}{mistake['msg'][1:]}, but got {shown}"


def _hint(model: type[BaseModel], location: tuple[int | str, ...], *, brief: bool) -> str:
    """The keys that would have been accepted beside an unknown one, or only the nearest."""
    found: list[type[BaseModel]] = [model]
    for part in location[:-1]:
        if isinstance(part, int):  # an item of a list
            continue
        fields = [record.model_fields[part] for record in found if part in record.model_fields]
        if fields:
            found = _records_in(fields[0].annotation)
        else:  # the name of a kind, of which there are several
            found = [record for record in found if part in _kinds_of(record)]
    known = list(found[0].model_fields) if len(found) == 1 else []
    unknown = str(location[-1])
    if brief:
        known = difflib.get_close_matches(unknown, known, n=1)
        return f"; did you mean '{known[0]}'?" if known else ""
    return f"; {suggest(unknown, known, printed_by='scaler schema')}" if known else ""


def _records_in(annotation: Any) -> list[type[BaseModel]]:
    """The records that `Record | None`, `tuple[Record, ...]` or a choice of kinds speak of."""
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [record for part in get_args(annotation) for record in _records_in(part)]


def _kinds_of(record: type[BaseModel]) -> tuple[Any, ...]:
    """What its `kind` may be."""
    field = record.model_fields.get("kind")
    return get_args(field.annotation) if field else ()


def suggest(unknown: str, known: Iterable[str], *, printed_by: str = "scaler list") -> str:
    """`did you mean 'x'? (known: ...)` for an error about an unknown name."""
    names = sorted(known)
    begin = [name for name in names if unknown and name.startswith(unknown)]
    near = begin or difflib.get_close_matches(unknown, names, n=3)
    listed = f"known: {', '.join(names)}"
    if len(names) > MANY:
        listed = f"{len(names)} known, `{printed_by}` prints them"
        if begin[1:]:
            return f"these begin with it: {', '.join(begin[:MANY])} ({listed})"
        if near[1:]:
            listed = f"also near: {', '.join(near[1:])}; {listed}"
    return f"did you mean '{near[0]}'? ({listed})" if near else listed


def choose(table: Mapping[Any, Any], name: str, *, what: str) -> Any:
    """`table[name]`, or an InputError that lists the known names and the nearest."""
    if name not in table:
        raise InputError(f"unknown {what} '{name}'; {suggest(name, table)}")
    return table[name]


# What stands in each kind of file that a user may hand in, most telling first.
_KINDS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "a search space": lambda data: "stages" in data and ("training" in data or _chooses(data)),
    "an architecture": lambda data: "stages" in data,
    "coefficients": lambda data: "alpha" in data,
    "a config": lambda data: bool({"search", "data", "train", "comparison"} & data.keys()),
    "a recipe": lambda data: bool({"optimizer", "learning_rate", "batch_size"} & data.keys()),
}
_WAYS = {
    "a search space": "`scaler show FILE` reads it, `scaler search --space FILE` finds an "
    "architecture in it",
    "an architecture": "`scaler show FILE` reads it",
    "coefficients": "`scaler scale ARCH --coefficients FILE` takes it",
    "a config": "`scaler run --config FILE` takes it",
    "a recipe": "`scaler train ARCH --recipe FILE` takes it",
}


def _chooses(node: Any) -> bool:
    if isinstance(node, dict):
        return "choice" in node or any(_chooses(value) for value in node.values())
    return isinstance(node, list) and any(_chooses(value) for value in node)


def read_mapping(path: Path, *, wanted: str | None = None) -> dict[str, Any]:
    """Read a YAML (or JSON, which is YAML) file that holds one mapping.

    Raises InputError where it cannot be read, or is another kind of file than is `wanted`, as
    "an architecture".
    """
    data = _read(path)
    found = kind_of(data) or wanted
    if wanted is not None and found is not None and found != wanted:
        raise other_kind(path, found, wanted=wanted)
    return data


def kind_of(data: dict[str, Any]) -> str | None:
    """What kind of file these are the data of, as "a search space"; None if it cannot be told."""
    return next((kind for kind, holds in _KINDS.items() if holds(data)), None)


def other_kind(name: str | Path, found: str, *, wanted: str) -> InputError:
    """The error where a name or file is of another kind than is wanted."""
    verb = "are" if wanted == "coefficients" else "is"
    way = _WAYS[found].replace("FILE", str(name))
    return InputError(f"'{name}' is {found}, but {wanted} {verb} needed; {way}")


def _read(path: Path) -> dict[str, Any]:
    if path.is_dir():
        files = sorted(path.glob("*.yaml"))
        raise InputError(f"'{path}' is a folder; name a file{f', as {files[0]}' if files else ''}")
    try:
        with path.open("rb") as file:
            text = file.read(_BYTES + 1)
        if len(text) > _BYTES:
            raise InputError(f"'{path}' is not YAML or JSON of ours: it has more than 4 MiB")
        data = read_yaml(text.decode())
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).replace("\n", " ")
        raise InputError(f"'{path}' is not valid YAML or JSON: {reason}") from None
    if not isinstance(data, dict):
        raise InputError(f"'{path}' must hold a mapping of keys to values, but holds {data!r:.40}")
    return data


class _TableDumper(YamlDumper):
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
    text = yaml.dump(
        value, Dumper=YamlDumper, default_flow_style=True, sort_keys=False, width=10_000
    )
    return text.removesuffix("...\n").strip()
