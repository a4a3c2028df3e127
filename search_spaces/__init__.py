"""What a network can be: architectures, blocks, search spaces, and the networks built from them."""

from typing import TYPE_CHECKING, Any

from search_spaces.records import InputError

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture, Stage, Stem
    from search_spaces.blocks import Convolution, MBConv
    from search_spaces.head import Head
    from search_spaces.network import build_network
    from search_spaces.reference import list_architectures, load_architecture
    from search_spaces.resizing import resize
    from search_spaces.space import SearchSpace, list_spaces, load_space

_PLACES = {
    "Architecture": "architecture",
    "Convolution": "blocks",
    "Head": "head",
    "MBConv": "blocks",
    "SearchSpace": "space",
    "Stage": "architecture",
    "Stem": "architecture",
    "build_network": "network",
    "list_architectures": "reference",
    "list_spaces": "space",
    "load_architecture": "reference",
    "load_space": "space",
    "resize": "resizing",
}

__all__ = [
    "Architecture",
    "Convolution",
    "Head",
    "InputError",
    "MBConv",
    "SearchSpace",
    "Stage",
    "Stem",
    "build_network",
    "list_architectures",
    "list_spaces",
    "load_architecture",
    "load_space",
    "resize",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: torch and optuna take seconds to load."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
