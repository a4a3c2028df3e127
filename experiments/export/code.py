"""A network as one Python file that needs torch alone: same weights, same names, same outputs.

What stands in the file is the text of our own modules, with everything of this package that they
need: there is no second version of a block that could differ from the first.
"""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from experiments.export.layer_calls import (
    Call,
    Items,
    Name,
    Shared,
    layer_call,
    shared_arguments,
    stage_calls,
    written,
)
from experiments.export.model import check_task, prepare
from search_spaces.architecture import Architecture
from search_spaces.blocks import Conventions, Layer
from search_spaces.heads import Row
from search_spaces.network import Network, initialise, weighted_loss

_OURS = ("search_spaces", "experiments")
_NOQA = re.compile(r"\s*# noqa: [A-Z0-9, ]+(?:, (?P<reason>.*))?$", re.MULTILINE)


class Place(NamedTuple):
    """A top-level name of a module of ours."""

    module: str
    name: str


class ModuleText(NamedTuple):
    """A module's top level: its definitions' text and the names in each, and what it imports."""

    text: dict[str, str]
    names: dict[str, list[str]]
    # name -> (module, name there; None: the module, as `numpy as np`)
    imported: dict[str, tuple[str, str | None]]


Imports = dict[str, set[str | None]]  # module -> names from it; None: the module itself


def extracted(roots: Iterable[Place], *, replaced: dict[str, str]) -> tuple[Imports, list[str]]:
    """What `roots` need: imports, and definitions in an order in which they can be run.

    `replaced` gives the text of names that are not followed.
    """
    definitions: dict[str, str] = {}
    owners: dict[str, str] = {}
    imports: Imports = {}

    def follow(place: Place) -> None:
        source = _source(place.module)
        if place.name in source.imported:
            module, name = source.imported[place.name]
            if name is not None and module.split(".")[0] in _OURS:
                follow(Place(module, name))
            else:
                imports.setdefault(module, set()).add(name)
            return
        if place.name not in source.text:
            return  # a builtin, a parameter or a local name
        if place.name in owners:
            assert owners[place.name] == place.module, f"two definitions of {place.name}"
            return
        owners[place.name] = place.module
        if place.name not in replaced:
            for name in source.names[place.name]:
                follow(Place(place.module, name))
        definitions[place.name] = replaced.get(place.name, source.text[place.name])

    for root in roots:
        follow(root)
    return imports, list(definitions.values())


@cache
def _source(module: str) -> ModuleText:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    whole = Path(spec.origin).read_text(encoding="utf-8")
    lines = whole.splitlines()
    source = ModuleText({}, {}, {})
    for node in ast.parse(whole).body:
        if isinstance(node, ast.Import):
            for a in node.names:
                source.imported[a.asname or a.name] = (ast.unparse(ast.Import([a]))[7:], None)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            source.imported.update({a.asname or a.name: (node.module, a.name) for a in node.names})
        else:
            for name in _defined(node):
                source.text[name] = _without_noqa("\n".join(lines[_first(node) : node.end_lineno]))
                source.names[name] = _loaded(node)
    return source


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _first(node: ast.stmt) -> int:
    """The index of the node's first line, its decorators' too."""
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)]) - 1


def _loaded(node: ast.stmt) -> list[str]:
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    return list(dict.fromkeys(names))


def _without_noqa(text: str) -> str:
    return _NOQA.sub(lambda m: f"  # {m['reason']}" if m["reason"] else "", text)


def import_lines(imports: Imports) -> list[str]:
    """Import statements, sorted."""
    lines = [f"import {module}" for module in sorted(imports) if None in imports[module]]
    for module in sorted(imports):
        names = sorted(name for name in imports[module] if name is not None)
        if names:
            lines.append(f"from {module} import {', '.join(names)}")
    return lines


_PLAIN_FORWARD = """\
    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(x)
"""


def network_code(
    architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3
) -> str:
    """The text of a Python file with a class `Network` that is this architecture's network.

    Its state dict has our names, its start from a seed is ours, and of packages it needs torch.
    """
    check_task(architecture, "classification", what="code that needs torch alone")
    rows = architecture.rows(num_classes=num_classes, in_channels=in_channels)
    auxiliary = architecture.auxiliary_rows(num_classes=num_classes)
    layers = [row.layer for row in [*rows, *auxiliary]]
    helpers = [initialise, prepare, *([weighted_loss] if auxiliary else [])]
    imports, definitions = extracted(
        [*map(place_of, helpers), *dict.fromkeys(_places(layers))],
        replaced={"Conventions": _conventions(architecture.conventions)},
    )
    shared = shared_arguments(layers)
    imports.setdefault("typing", set()).add("NamedTuple")
    if shared:
        imports["functools"] = {"partial"}
    head = (
        f'"""{architecture.name} for {in_channels} x {architecture.resolution} x '
        f"{architecture.resolution} images; needs torch alone.\n\n"
        f"Written by `scaler show {architecture.name} --code`. Weights that it exports have the "
        f'same names:\nNetwork().load_state_dict(safetensors.torch.load_file("model.safetensors"))'
        f'\nIts input: prepare(PIL.Image.open(...), json.load(open("preprocessing.json")))'
        f'\n"""\n\nfrom __future__ import annotations'
    )
    body = _network(architecture, rows, auxiliary, shared, num_classes)
    pieces = [*definitions, "CONVENTIONS = Conventions()", body]
    return python_file(head, imports, pieces)


def python_file(head: str, imports: Imports, pieces: list[str]) -> str:
    """A file's text: its docstring and what must come first, its imports, its definitions."""
    return "\n\n".join([head, "\n".join(import_lines(imports))]) + _spaced(pieces)


def place_of(thing: Any) -> Place:
    """Where a class or function of ours is defined."""
    return Place(thing.__module__, thing.__name__)


def _places(value: Any) -> Iterator[Place]:
    """The classes of modules and of named tuples in layers and their arguments."""
    if isinstance(value, Layer):
        yield place_of(value.module)
        yield from _places(value.arguments)
    elif isinstance(value, tuple | list):
        if hasattr(value, "_fields"):
            yield place_of(type(value))
        for item in value:
            yield from _places(item)


def _conventions(conventions: Conventions) -> str:
    """The fields that modules read, with this network's values for defaults."""
    names = ("batch_norm_eps", "batch_norm_momentum", "padding", "average_pool")
    lines = [f"    {n}: {type(v).__name__} = {written(v)}" for n, v in _values(conventions, names)]
    return "\n".join(["class Conventions(NamedTuple):", *lines])


def _values(record: Any, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    return [(name, getattr(record, name)) for name in names]


def _spaced(pieces: list[str]) -> str:
    """Two empty lines around classes and functions, one around constants."""
    big = [re.match(r"class|def|@", piece) is not None for piece in pieces]
    gaps = [3 if a or b else 1 for a, b in zip([False, *big], big, strict=False)]
    gaps[0] = max(2, gaps[0])
    return "".join("\n" * gap + piece for gap, piece in zip(gaps, pieces, strict=True))


def _network(
    architecture: Architecture,
    rows: list[Row],
    auxiliary: list[Row],
    shared: dict[str, Shared],
    num_classes: int,
) -> str:
    stages = [
        Call("nn.Sequential", tuple(stage_calls(architecture, rows, i, shared)))
        for i in range(len(architecture.stages))
    ]
    assigned: list[tuple[str, Any]] = [
        (common.name, Call("partial", (Name(kind),), common.arguments))
        for kind, common in shared.items()
    ]
    assigned += [
        ("self.stem", layer_call(rows[0].layer, shared)),
        ("self.stages", Call("nn.ModuleList", (Items("[", tuple(stages), "]"),))),
        ("self.head", layer_call(rows[-1].layer, shared, out_channels=Name("num_classes"))),
    ]
    forward = _PLAIN_FORWARD
    if auxiliary:
        places = [str(a.after) for a in architecture.auxiliary]
        calls = [
            layer_call(row.layer, shared, out_channels=Name("num_classes")) for row in auxiliary
        ]
        by_place = tuple(Items("(", pair, ")") for pair in zip(places, calls, strict=True))
        weights = {str(a.after): a.weight for a in architecture.auxiliary}
        assigned += [
            ("self.auxiliary", Call("nn.ModuleDict", (Items("[", by_place, "]"),))),
            ("self._auxiliary_weights", Name(repr(weights).replace("'", '"'))),
        ]
        forward = inspect.getsource(Network.forward)
    scheme = architecture.conventions.initialisation
    lines = [f"        {to} = {written(v, indent=8, room=len(to) + 3)}" for to, v in assigned]
    return "\n".join(
        [
            "class Network(nn.Module):",
            f'    """(N, C, {architecture.resolution}, {architecture.resolution}) -> '
            f'(N, num_classes)."""\n',
            f"    def __init__(self, num_classes: int = {num_classes}) -> None:",
            "        super().__init__()",
            *lines,
            f'        initialise(self, scheme="{scheme}")\n',
            forward,
        ]
    )
