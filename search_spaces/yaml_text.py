"""YAML as people mean it, with a bound on what a short file may become.

PyYAML follows YAML 1.1, which changes some values without a word. There `1e-3` is a text, `010` is
8, `1:30` is 90, `2024-01-01` is a date, and of two equal keys the last one counts. Here the first
two are numbers, the next two are texts, and a key that stands twice is an error.
"""

import math
import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

LEVELS = 50  # of nesting; our own deepest file, a space of Inception modules, has fewer than 15
VALUES = 100_000  # of a file with anchors, once each alias is replaced by what it stands for
_LARGEST = 2**63 - 1  # the largest integer of a database and of torch
_TAG = "tag:yaml.org,2002:"
_KINDS = ("map", "seq", "str", "int", "float", "bool", "null")
_NUMBERS = {
    "int": re.compile(r"[-+]?(\d[\d_]*|0x[0-9a-fA-F]+)\Z"),
    "float": re.compile(
        r"([-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
    ),
}
# The rules of PyYAML by the first letter of a text; those of numbers and dates are not taken over.
_RULES = {
    first: [(tag, rule) for tag, rule in rules if tag.removeprefix(_TAG) in (*_KINDS[5:], "merge")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _RULES
    yaml_constructors = {  # noqa: RUF012, as PyYAML has it
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(_TAG) in _KINDS
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.level = 0
        self.twice: list[str] = []

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """PyYAML calls it for each value; nesting past `LEVELS` would exhaust Python's stack."""
        self.level += 1
        if self.level > LEVELS:
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"line {line}: values stand in more than {LEVELS} levels")
        node = super().compose_node(parent, index)
        self.level -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        """Keys are checked here, before merge keys (`<<`) add those that may be overridden."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
                shown = f"'{key.value}'" if isinstance(key, ScalarNode) else "of several values"
                raise yaml.YAMLError(f"line {line}: the key {shown} is no text; put it in quotes")
            if key.value in lines:
                self.twice.append(f"'{key.value}' (lines {lines[key.value]} and {line})")
            lines.setdefault(key.value, line)
        return node

    def construct_document(self, node: Node) -> Any:
        """PyYAML calls it once the text is read; here all keys given twice are told at once."""
        if self.twice:
            keys = "keys stand" if len(self.twice) > 1 else "a key stands"
            raise yaml.YAMLError(f"{keys} twice: {', '.join(self.twice)}; keep one of each")
        _check_size(node)
        return super().construct_document(node)


def _int(loader: _Loader, node: ScalarNode) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    try:
        value = int(text, 16 if "x" in text else 10)
    except ValueError:  # more digits than Python reads, or `!!int` before a word
        raise _not_held(node) from None
    if abs(value) > _LARGEST:
        raise _not_held(node)
    return value


def _float(loader: _Loader, node: ScalarNode) -> float:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    try:
        value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise _not_held(node) from None
    if math.isinf(value) and "inf" not in text:
        raise _not_held(node)
    return value


def _bool(loader: _Loader, node: ScalarNode) -> bool:
    try:
        return bool(loader.bool_values[str(loader.construct_scalar(node)).lower()])
    except KeyError:
        raise _not_held(node) from None


def _str(loader: _Loader, node: ScalarNode) -> str:
    """JSON writes some characters as two halves: they are joined."""
    text = str(loader.construct_scalar(node))
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:  # no file can be written with half a character
        line = node.start_mark.line + 1
        raise yaml.YAMLError(f"line {line}: a text holds half a character") from None


def _not_held(node: ScalarNode) -> yaml.YAMLError:
    shown = node.value if len(node.value) <= 40 else f"a value of {len(node.value)} characters"
    kind = node.tag.removeprefix(_TAG)
    rule = "is not a bool" if kind == "bool" else f"is no {kind} of 64 bits"
    return yaml.YAMLError(f"line {node.start_mark.line + 1}: {shown} {rule}")


for _kind, _make in (("int", _int), ("float", _float), ("bool", _bool), ("str", _str)):
    _Loader.add_constructor(_TAG + _kind, _make)


class YamlDumper(yaml.SafeDumper):
    """Writes what `read_yaml` reads back the same: the text "1e-3" is put in quotes."""

    yaml_implicit_resolvers = _RULES


for _class in (_Loader, YamlDumper):
    for _kind, _rule in _NUMBERS.items():
        _class.add_implicit_resolver(_TAG + _kind, _rule, list("-+.0123456789"))


def _check_size(root: Node) -> None:
    """Raise YAMLError where anchors make too much of a short file, or a value holds itself."""
    sizes: dict[int, int] = {}

    def size(node: Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = VALUES  # until it is known: a value that holds itself is too large
            parts = node.value if isinstance(node, SequenceNode) else []
            if isinstance(node, MappingNode):
                parts = [part for pair in node.value for part in pair]
            sizes[id(node)] = 1 + sum(size(part) for part in parts)
        return sizes[id(node)]

    if size(root) > max(VALUES, len(sizes)):
        raise yaml.YAMLError(f"its anchors make more than {VALUES:,} values of {len(sizes):,}")


def read_yaml(text: str) -> Any:
    """The one document in `text`. Raises yaml.YAMLError in one line, with the place."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark else ""
        raise yaml.YAMLError(f"{place}{error.problem or error.context}") from None
    finally:
        loader.dispose()
