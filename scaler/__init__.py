"""What a network costs, and how it grows."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaler.budget import scale_to, scale_to_flops
    from scaler.compound import CompoundCoefficients, scale
    from scaler.cost import Cost, measure_cost
    from scaler.family import scale_family
    from scaler.scaled import Scaled

_PLACES = {
    "CompoundCoefficients": "compound",
    "Cost": "cost",
    "Scaled": "scaled",
    "measure_cost": "cost",
    "scale": "compound",
    "scale_family": "family",
    "scale_to": "budget",
    "scale_to_flops": "budget",
}

__all__ = [
    "CompoundCoefficients",
    "Cost",
    "Scaled",
    "measure_cost",
    "scale",
    "scale_family",
    "scale_to",
    "scale_to_flops",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: torch takes seconds to load."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
