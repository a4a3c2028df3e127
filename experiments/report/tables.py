"""The tables of a run: pandas frames, and the same as CSV and Markdown files."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from experiments.config.files import write_text
from experiments.config.run_folder import RunFolder
from experiments.config.search_section import SearchSection
from experiments.config.units import NAMES
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
from experiments.report.cells import markdown
from experiments.report.charts.network import layers_table
from experiments.report.frame_files import to_csv
from experiments.report.front import for_main_target, front_table
from experiments.report.repeats import (
    coefficients_table,
    confirmation_table,
    dropped_table,
)
from experiments.store.trials import (
    FIXED,
    OWN,
    STATE,
    Runs,
    load_curves,
    load_notes,
    load_trials,
    named_runs,
)
from scaler.budget import ON_A_DEVICE
from scaler.cost import device_cost, measure_cost
from scaler.scaled import BINDS
from search_spaces.architecture import Architecture

TOP = 10  # trials in the table of the search

_SEARCH = "number reward accuracy flops params activations epochs seconds key"
_FAMILY = (
    "member phi depth width resolution_factor resolution flops times_baseline target_flops "
    "times_target params accuracy test_accuracy forecast forecast_low forecast_high seconds state"
)
_FAILURES = "study number reason epochs seconds host device key"


def make_tables(folder: RunFolder) -> dict[str, pd.DataFrame]:
    """`trials`, `search`, `coefficients`, `family`; `limits`, `front`, `confirmation`, `dropped`
    (directions), `comparison`, `gradient_norms` and `failures` if there are some.

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
    section = folder.config.search
    if baseline and len(limits := limits_table(section, baseline, **data_sizes(folder))):
        tables["limits"] = limits
    if len(front := front_table(trials, section)):
        tables["front"] = front.drop(columns="key")
    if len(confirmed := confirmation_table(for_main_target(trials, section))):
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


def limits_table(section: SearchSection, baseline: Architecture, **sizes: int) -> pd.DataFrame:
    """A row a limit of what is counted, with what the baseline has of it; `sizes` are the data's.

    `binds` marks the limit that is nearest to being passed, from BINDS of it on. Bytes are those of
    int8.
    """
    limits = {
        cost: float(limit)
        for cost in ("flops", "params", "activations", *ON_A_DEVICE)
        if (limit := section.limits.get(f"max_{cost}")) is not None
    }
    if not limits:
        return pd.DataFrame()
    measure = device_cost if limits.keys() & set(ON_A_DEVICE) else measure_cost
    cost = measure(baseline, **sizes)
    shares = {name: getattr(cost, name) / limit for name, limit in limits.items()}
    highest = max(shares, key=lambda name: shares[name])
    rows = [
        {
            "limit": NAMES[name],
            "has": int(getattr(cost, name)),
            "of": int(limit),
            "share": shares[name],
            "binds": "binds" if name == highest and shares[name] >= BINDS else "",
        }
        for name, limit in limits.items()
    ]
    return pd.DataFrame(rows)


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
    times_baseline and times_target are FLOPs over the baseline's and over the target. forecast is
    the test accuracy that was expected from the smaller members, with its 90 % interval.
    """
    members = _of_baseline(trials, "family", baseline)
    flops = members["flops"].astype("float64")
    costs = trials.drop_duplicates("key").set_index("key")["flops"].astype("float64")
    members = members.assign(
        times_baseline=flops / members["baseline"].map(costs).astype("float64"),
        times_target=flops / members["target_flops"],
    )
    return _columns(members.sort_values(["flops", "number"]), _FAMILY)


def write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    """`<name>.csv` with every column and digit, and `<name>.md` to read, in `folder`.

    The Markdown of `trials` has the columns of FIXED alone: all of them would be too wide to read.
    """
    for name, table in tables.items():
        shown = table[list(FIXED)] if name == "trials" else table
        write_text(folder / f"{name}.csv", to_csv(table))
        write_text(folder / f"{name}.md", markdown(shown))


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


GRADIENT = "gradient_norm."  # how the metrics of gradient norms begin, then the weight's name

_ERRORS = "network panel params flops seeds train_error error error_spread test_error seconds"


def compared_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """The finished trainings of a comparison, in the order in which its config names them."""
    done = trials[(trials["study"] == "comparison") & (trials["state"] == "complete")]
    return done.sort_values(["place", "seed"]) if len(done) else done


def errors_table(compared: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """A row a network, figures of the last epoch, means over the seeds.

    train_error is of the augmented images in train mode, error of the validation part, its spread
    the standard deviation over the seeds.
    """
    seen = curves[curves["metric"] == "train_accuracy"].groupby("number")["value"].last()
    table = (
        compared.assign(
            train_error=1 - compared["number"].map(seen).astype("float64"),
            error=1 - compared["accuracy"],
            test_error=1 - compared["test_accuracy"],
        )
        .groupby("network", sort=False)
        .agg(
            panel=("panel", "first"),
            params=("params", "first"),
            flops=("flops", "first"),
            seeds=("seed", "nunique"),
            train_error=("train_error", "mean"),
            error_spread=("error", "std"),
            error=("error", "mean"),
            test_error=("test_error", "mean"),
            seconds=("seconds", "mean"),
        )
    )
    return table.reset_index()[_ERRORS.split()]


def gradients_table(compared: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """A row a network: the norms of its first and last weight's gradient at the first step.

    Means over the seeds; no rows where none were recorded.
    """
    norms = first_norms(curves).groupby("number")["value"].agg(["size", "first", "last"])
    joined = compared.set_index("number").join(norms, how="inner")
    table = joined.groupby("network", sort=False).agg(
        panel=("panel", "first"),
        layers=("size", "first"),
        first_norm=("first", "mean"),
        last_norm=("last", "mean"),
    )
    return table.reset_index()


def first_norms(curves: pd.DataFrame) -> pd.DataFrame:
    """Of the curves, the gradient norms at the first step, from the image to the scores."""
    return curves[(curves["epoch"] == 1) & curves["metric"].str.startswith(GRADIENT)]


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
        tables["costs"] = outcome_costs(
            trials, gpus_per_trial=folder.config.cluster.gpus_per_trial or 1.0
        )
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
    times_baseline and times_target are FLOPs over the baseline's and over the target. forecast is
    the test accuracy that was expected from the smaller members, with its 90 % interval.
    """
    return _each(run, _family)


def load_front(run: Runs) -> pd.DataFrame:
    """A row a target of each run, then the other networks that were confirmed as long: `run, ...`.

    Of runs with several targets. accuracy is the mean over the `seeds` trainings of the
    confirmation's last round, with its standard error, the least and the highest; cost and target
    are in the unit of the search's cost; `baseline` is the network's file in the run folder, and
    `pareto` marks those that no other beats at its cost or less.
    """
    frames = []
    for name, folder in named_runs(run):
        table = front_table(load_trials(folder.path), folder.config.search)
        table.insert(0, "run", pd.Series(name, index=table.index, dtype="string"))
        frames.append(table)
    return pd.concat([f for f in frames if len(f)] or frames[:1], ignore_index=True)


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
