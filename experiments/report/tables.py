"""The tables of a run: pandas frames, and the same as CSV and Markdown files."""

import pandas as pd

from experiments.config.files import write_text
from experiments.config.run_folder import RunFolder
from experiments.report.cells import markdown
from experiments.report.comparison_tables import (
    compared_trials,
    errors_table,
    gradients_table,
)
from experiments.report.repeats_tables import (
    coefficients_table,
    confirmation_table,
    dropped_table,
)
from experiments.store.columns import FIXED, OWN
from experiments.store.trials import load_curves, load_notes, load_trials

TOP = 10  # trials in the table of the search

_SEARCH = "number reward accuracy flops params activations epochs seconds key"
_FAMILY = (
    "member phi depth width resolution_factor resolution flops times_baseline target_flops "
    "times_target params accuracy test_accuracy seconds state"
)
_FAILURES = "study number reason epochs seconds host device key"


def make_tables(folder: RunFolder) -> dict[str, pd.DataFrame]:
    """`trials`, `search`, `coefficients`, `family`; `confirmation`, `dropped` (directions),
    `comparison`, `gradient_norms` and `failures` if there are some.

    Coefficients and family are those of the folder's baseline: an earlier one's stand in the store
    beside them, and in `trials`.
    """
    trials = load_trials(folder.path)
    baseline = folder.baseline()
    key = baseline.key if baseline else None
    tables = {
        "trials": trials,
        "search": search_table(trials),
        "coefficients": coefficients_table(coefficient_trials(folder, trials)),
        "family": family_table(trials, baseline=key),
    }
    if len(confirmed := confirmation_table(trials)):
        tables["confirmation"] = confirmed
    dropped = dropped_table(load_notes(folder.path, study="coefficients"), baseline=key)
    if len(dropped):
        tables["dropped"] = dropped
    compared = compared_trials(trials)
    if len(compared):
        curves = load_curves(folder.path, study="comparison")
        tables["comparison"] = errors_table(compared, curves)
        tables["gradient_norms"] = gradients_table(compared, curves)
    failed = trials[trials["state"] == "fail"]
    return tables if failed.empty else {**tables, "failures": _columns(failed, _FAILURES)}


def search_table(trials: pd.DataFrame) -> pd.DataFrame:
    """The finished trials of highest reward, of two equals the earlier one first."""
    done = trials[(trials["study"] == "search") & (trials["state"] == "complete")]
    ranked = done.sort_values(["reward", "number"], ascending=[False, True])
    timed = "latency" in done and done["latency"].notna().any()
    names = _SEARCH.replace("activations", "activations latency") if timed else _SEARCH
    return _columns(ranked.head(TOP), names)


def coefficient_trials(folder: RunFolder, trials: pd.DataFrame) -> pd.DataFrame:
    """Those of the folder's baseline, grown by the rule of its config.

    Runs of older versions named no rule: theirs was phi, and if nothing has been trained by the
    config's rule since, theirs are shown.
    """
    baseline = folder.baseline()
    grid = _of_baseline(trials, "coefficients", baseline.key if baseline else None)
    ours = grid[grid["rule"] == folder.config.coefficients.rule]
    return ours if len(ours) else grid


def family_table(trials: pd.DataFrame, *, baseline: str | None) -> pd.DataFrame:
    """The members by FLOPs, the baseline first.

    depth, width, resolution_factor are the rule's factors before rounding; resolution is in pixels;
    times_baseline and times_target are FLOPs over the baseline's and over the target.
    """
    members = _of_baseline(trials, "family", baseline)
    flops = members["flops"].astype("float64")
    costs = trials.drop_duplicates("key").set_index("key")["flops"].astype("float64")
    members = members.assign(
        times_baseline=flops / members["baseline"].map(costs).astype("float64"),
        times_target=flops / members["target_flops"],
    )
    return _columns(members.sort_values(["flops", "number"]), _FAMILY)


def write_tables(folder: RunFolder, tables: dict[str, pd.DataFrame]) -> None:
    """`tables/<name>.csv` with every column and digit, and `<name>.md` to read."""
    for name, table in tables.items():
        shown = table[list(FIXED)] if name == "trials" else table
        csv = table.to_csv(index=False, lineterminator="\n")
        write_text(folder.tables / f"{name}.csv", csv)
        write_text(folder.tables / f"{name}.md", markdown(shown))


def _of_baseline(trials: pd.DataFrame, study: str, baseline: str | None) -> pd.DataFrame:
    part = _with_columns(trials[trials["study"] == study])
    return part if baseline is None else part[part["baseline"] == baseline]


def _with_columns(trials: pd.DataFrame) -> pd.DataFrame:
    """With every column of OWN and the resolution, though no trial has them yet."""
    types = {**OWN, "resolution": "Int64"}
    missing = {name: kind for name, kind in types.items() if name not in trials}
    return trials.assign(**{n: pd.Series(index=trials.index, dtype=k) for n, k in missing.items()})


def _columns(table: pd.DataFrame, names: str) -> pd.DataFrame:
    return table[names.split()].reset_index(drop=True)
