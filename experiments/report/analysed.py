"""The tables that analyse a run, beside those that list it."""

import pandas as pd

from experiments.config.run_folder import RunFolder
from experiments.report.analysis import (
    at_common_epoch,
    marginal_effects,
    outcome_costs,
    parameter_importance,
    search_regret,
    seed_noise,
    surrogate_fit,
    surrogate_score,
)
from experiments.report.charts.network import layers_table
from experiments.store.trials import load_curves

_ANALYSED = ("importance", "effects", "costs", "noise", "regret", "surrogate", "layers")
_SIZES = {"num_classes": 1000, "in_channels": 3}


def make_analysis(folder: RunFolder, trials: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Those of `_ANALYSED` for which the run has trials; `run` is left out of each."""
    searched = trials[trials["study"] == "search"]
    tables: dict[str, pd.DataFrame] = {}
    if len(searched):
        alike = at_common_epoch(searched, load_curves(folder.path, study="search"))
        tables["importance"] = parameter_importance(folder.path)
        tables["effects"] = marginal_effects(alike)
        tables["regret"] = search_regret(trials)
        tables["surrogate"] = surrogate_score(surrogate_fit(folder.path))
    if len(trials):
        gpus = folder.config.cluster.gpus_per_trial or 1.0
        tables["costs"] = outcome_costs(trials, gpus_per_trial=gpus)
        tables["noise"] = seed_noise(trials)
    tables = {name: table.drop(columns="run", errors="ignore") for name, table in tables.items()}
    baseline = folder.baseline()
    if baseline is not None:
        tables["layers"] = layers_table(baseline, **data_sizes(folder))
    return {name: tables[name] for name in _ANALYSED if name in tables and len(tables[name])}


def data_sizes(folder: RunFolder) -> dict[str, int]:
    """`num_classes` and `in_channels` of the run's data; runs of older versions did not say."""
    kept = folder.environment()
    return {name: kept.get(name, value) for name, value in _SIZES.items()}
