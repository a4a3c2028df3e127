"""What was scaled, as pandas frames: directions of growth and family, of one run or many."""

from collections.abc import Callable

import pandas as pd

from experiments.config.run_folder import RunFolder
from experiments.report.repeats_tables import coefficients_table
from experiments.report.tables import coefficient_trials, family_table
from experiments.store.columns import STATE
from experiments.store.trials import Runs, load_trials, named_runs


def load_coefficients(run: Runs) -> pd.DataFrame:
    """A row a direction of growth of each run, best first: `run, rank, alpha, beta, gamma, ...`.

    growth is alpha * beta^2 * gamma^2; accuracy and spread are mean and standard deviation over the
    `seeds` new trainings, or the one training; first_accuracy is of the training that all had;
    reached_depth and reached_width are over the baseline's, resolution is in pixels. `chosen` marks
    the run's coefficients. Directions of which no training finished have no rank.
    """
    return _each(run, _coefficients)


def load_family(run: Runs) -> pd.DataFrame:
    """A row a member of each run's family by FLOPs, the baseline first: `run, member, phi, ...`.

    depth, width, resolution_factor are the rule's factors before rounding; resolution is in pixels;
    times_baseline and times_target are FLOPs over the baseline's and over the target.
    """
    return _each(run, _family)


def _coefficients(folder: RunFolder, trials: pd.DataFrame) -> pd.DataFrame:
    table = coefficients_table(coefficient_trials(folder, trials))
    chosen = folder.coefficients()
    marks = pd.Series(chosen is not None, index=table.index, dtype="boolean")
    for name, value in chosen or ():
        marks &= table[name] == value
    return table.assign(chosen=marks)


def _family(folder: RunFolder, trials: pd.DataFrame) -> pd.DataFrame:
    baseline = folder.baseline()
    return family_table(trials, baseline=baseline.key if baseline else None)


def _each(run: Runs, table_of: Callable[[RunFolder, pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    frames = []
    for name, folder in named_runs(run):
        table = table_of(folder, load_trials(folder.path))
        table.insert(0, "run", pd.Series(name, index=table.index, dtype="string"))
        frames.append(table.assign(state=table["state"].astype(STATE)))
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    return pd.concat(filled, ignore_index=True)
