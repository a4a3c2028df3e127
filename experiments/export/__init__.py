"""Networks to take away: a folder that loads again, exchange formats, standalone code.

May import `training`, `data` and `config`. Read `folder` first (what is written), then `formats`,
`timm`, `code`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.export.code import network_code
    from experiments.export.folder import Exported, load_exported, write_exported
    from experiments.export.folding import fold_batch_norm

_PLACES = {
    "Exported": "folder",
    "fold_batch_norm": "folding",
    "load_exported": "folder",
    "network_code": "code",
    "write_exported": "folder",
}

__all__ = ["Exported", "fold_batch_norm", "load_exported", "network_code", "write_exported"]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
