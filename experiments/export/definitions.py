"""The source of classes and functions with everything of this package that they need.

What stands in a printed network is the text of our own modules: there is no second version of a
block that could differ from the first.
"""

import ast
import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

_OURS = "search_spaces"
_NOQA = re.compile(r"\s*# noqa: [A-Z0-9, ]+(?:, (?P<reason>.*))?$", re.MULTILINE)


class Place(NamedTuple):
    """A top-level name of a module of ours."""

    module: str
    name: str


class Source(NamedTuple):
    """A module's top level: its definitions' text and the names in each, and what it imports."""

    text: dict[str, str]
    names: dict[str, list[str]]
    imported: dict[str, tuple[str, str | None]]  # name -> (module, name there; None: the module)


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
            if name is not None and module.split(".")[0] == _OURS:
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
def _source(module: str) -> Source:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    whole = Path(spec.origin).read_text(encoding="utf-8")
    lines = whole.splitlines()
    source = Source({}, {}, {})
    for node in ast.parse(whole).body:
        if isinstance(node, ast.Import):
            source.imported.update({a.asname or a.name: (a.name, None) for a in node.names})
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
    lines = [f"import {module}" for module in sorted(imports) if None in imports[module]]
    for module in sorted(imports):
        names = sorted(name for name in imports[module] if name is not None)
        if names:
            lines.append(f"from {module} import {', '.join(names)}")
    return lines
