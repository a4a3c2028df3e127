"""What happens on machines: searches, trainings, reports, the command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.config.schema import SearchConfig
    from experiments.report.frame_files import read_frame, save_frame
    from experiments.report.results import load_coefficients, load_family
    from experiments.samplers import make_sampler
    from experiments.samplers.objective import reward
    from experiments.search.search import SearchResult, search
    from experiments.store.trials import load_curves, load_trials

_PLACES = {
    "SearchConfig": "config.schema",
    "SearchResult": "search.search",
    "load_coefficients": "report.results",
    "load_curves": "store.trials",
    "load_family": "report.results",
    "load_trials": "store.trials",
    "make_sampler": "samplers",
    "read_frame": "report.frame_files",
    "reward": "samplers.objective",
    "save_frame": "report.frame_files",
    "search": "search.search",
}

__all__ = [
    "SearchConfig",
    "SearchResult",
    "load_coefficients",
    "load_curves",
    "load_family",
    "load_trials",
    "make_sampler",
    "read_frame",
    "reward",
    "save_frame",
    "search",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: torch, ray and optuna take seconds to load."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
