"""Two runs side by side, and what chance alone would show."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from experiments.config.run_folder import RunFolder
from experiments.report.repeats import confirmation_standings
from experiments.steps.noise import LEVEL, difference
from experiments.store.trials import Runs, load_trials, named_runs
from search_spaces.records import InputError

_COLUMNS = {
    "first": "string",
    "second": "string",
    "what": "string",
    "first_trials": "Int64",
    "second_trials": "Int64",
    "first_mean": "float64",
    "second_mean": "float64",
    "difference": "float64",
    "superiority": "float64",
    "test": "string",
    "p": "float64",
    "least_p": "float64",
    "statement": "string",
}
WINNERS = "winner, trained again"
TRIALS = "finished trials of the search"


def compare_runs(run: Runs) -> pd.DataFrame:
    """Two rows a pair of runs: their winners' repeated trainings, and all their finished trials.

    Winners: the rewards of the confirmation's first in its last round, by Welch's t-test of the
    means, as everywhere where trainings are repeated. Trials: the search's rewards, by the
    Mann-Whitney test, since they are far from normal. `superiority` is the share of pairs in which
    the first run's reward is higher (a half: alike). Both tests are two-sided. `least_p` is the
    smallest p that the ranks of so few trials could have given; Welch's test has no such bound.

    The tests speak of these two runs. Whether one *method* is better takes several runs of each,
    with other seeds. Rewards of unlike objectives, data or epochs are not compared. Raises
    InputError for fewer than two runs.
    """
    runs = named_runs(run)
    if len(runs) < 2:
        raise InputError(f"a comparison takes two runs or more, but got {len(runs)}; name another")
    trials = {name: load_trials(folder.path) for name, folder in runs}
    rows: list[dict[str, Any]] = []
    for (first, one), (second, other) in combinations(runs, 2):
        apart = _unlike(one, other)
        for what, values in ((WINNERS, _winner), (TRIALS, _searched)):
            a, b = values(trials[first]), values(trials[second])
            row = {"first": first, "second": second, "what": what, **_sizes(a, b)}
            tested = {} if apart else _tested(what, a, b)
            rows.append({**row, **tested, "statement": _statement({**row, **tested}, apart)})
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def _winner(trials: pd.DataFrame) -> npt.NDArray[np.float64]:
    ranked = confirmation_standings(trials)
    return np.array(ranked[0].values if ranked else [], dtype=float)


def _searched(trials: pd.DataFrame) -> npt.NDArray[np.float64]:
    done = trials[(trials["study"] == "search") & (trials["state"] == "complete")]
    return done["reward"].dropna().to_numpy(dtype=float)


def _unlike(one: RunFolder, other: RunFolder) -> str:
    """Why the rewards of two runs are not of one scale; an empty string where they are."""
    a, b = one.config, other.config
    facts = [
        ("cost", a.search.cost, b.search.cost),
        ("target", a.search.known_target, b.search.known_target),
        ("exponent", a.search.known_exponent, b.search.known_exponent),
        ("metric", one.metric, other.metric),
        ("epochs", a.search.epochs, b.search.epochs),
        ("data", a.data.source, b.data.source),
        ("data fingerprint", one.environment().get("data"), other.environment().get("data")),
    ]
    return ", ".join(f"{name} {x} against {y}" for name, x, y in facts if x != y)


def _sizes(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> dict[str, Any]:
    means = [float(x.mean()) if len(x) else math.nan for x in (a, b)]
    return {
        "first_trials": len(a),
        "second_trials": len(b),
        "first_mean": means[0],
        "second_mean": means[1],
        "difference": means[0] - means[1],
    }


def _tested(what: str, a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> dict[str, Any]:
    if min(len(a), len(b)) < 2:
        return {}
    from scipy import stats  # takes a second to load

    ranks = stats.mannwhitneyu(a, b)
    found = {"superiority": float(ranks.statistic) / (len(a) * len(b))}
    if what == TRIALS:
        # Of all ways to deal the values out to two groups, two part them most.
        least = 2 / math.comb(len(a) + len(b), len(a))
        return {**found, "test": "Mann-Whitney", "p": float(ranks.pvalue), "least_p": least}
    gap = difference(a, b)
    return {**found, "test": "Welch's t-test", "p": gap.p, "margin": gap.margin}


def _statement(row: dict[str, Any], apart: str) -> str:
    """What can be said of one row, in a sentence."""
    first, second, what = row["first"], row["second"], row["what"]
    if apart:
        return f"Not compared: the runs differ in {apart}."
    if "p" not in row:
        return (
            f"Nothing can be said of the {what}: {first} has {row['first_trials']} and {second} "
            f"{row['second_trials']}, and a test takes two of each."
        )
    if row["difference"] == 0:
        return f"The means are equal ({row['first_mean']:.4f})."
    higher, lower = (first, second) if row["difference"] > 0 else (second, first)
    leads = f"{higher} is higher than {lower} by {abs(row['difference']):.4f} in the mean"
    if math.isnan(row["p"]):
        return f"{leads}; whether that is noise cannot be said, as the repeats agree exactly."
    test = (
        f"{row['test']}, p = {row['p']:.2g}, n = {row['first_trials']} and {row['second_trials']}"
    )
    if row["p"] < LEVEL:
        return f"{leads}, beyond noise ({test})."
    return f"{leads}, which is within noise ({test}){_too_few(row)}."


def _too_few(row: dict[str, Any]) -> str:
    """What so few trainings could have shown; an empty string where they were not too few."""
    if "margin" in row:
        return f"; with so few trainings only a difference beyond {row['margin']:.4f} would count"
    if row["least_p"] < LEVEL:
        return ""
    return f"; with so few no difference could count, as the least p is {row['least_p']:.2g}"
