"""The named architectures of the literature."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from search_spaces.architecture import Architecture
from search_spaces.records import choose, read_mapping
from search_spaces.reference.efficientnet import RELEASED, RELEASED_LITE, efficientnet

_REFERENCES: dict[str, Callable[[], Architecture]] = {
    f"efficientnet_{member}": partial(efficientnet, member)
    for member in (*RELEASED, *RELEASED_LITE)
}


def list_architectures() -> list[str]:
    """The names that `load_architecture` knows."""
    return list(_REFERENCES)


def load_architecture(name_or_path: str | Path) -> Architecture:
    """An architecture by its name (`efficientnet_b0`) or from a YAML or JSON file.

    Raises InputError for an unknown name, an unreadable file or an architecture that breaks a rule.
    """
    text = str(name_or_path)
    if text in _REFERENCES:
        return _REFERENCES[text]()
    path = Path(text)
    if path.suffix in (".yaml", ".yml", ".json") or path.exists():
        return Architecture.parse(read_mapping(path), source=text)
    builder: Callable[[], Architecture] = choose(_REFERENCES, text, what="architecture")
    return builder()
