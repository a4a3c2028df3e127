"""What happens on machines: searches, trainings, reports, the command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.config import SearchConfig
    from experiments.report.frame_files import read_frame, save_frame
    from experiments.report.results import load_coefficients, load_family
    from experiments.report.trials import load_curves, load_trials
    from experiments.studies.objective import reward
    from experiments.studies.samplers import make_sampler
    from experiments.studies.search import SearchResult, search

_PLACES = {
    "SearchConfig": "config",
    "SearchResult": "studies.search",
    "load_coefficients": "report.results",
    "load_curves": "report.trials",
    "load_family": "report.results",
    "load_trials": "report.trials",
    "make_sampler": "studies.samplers",
    "read_frame": "report.frame_files",
    "reward": "studies.objective",
    "save_frame": "report.frame_files",
    "search": "studies.search",
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
