"""The one page of a run."""

import base64
import shlex
from pathlib import PurePath
from typing import Any

import pandas as pd

from experiments.config.run_folder import RunFolder
from experiments.config.search_section import SearchSection
from experiments.config.sections import CoefficientsSection
from experiments.config.units import readable_seconds
from experiments.engine.limits import searched_space
from experiments.report.analysis.choices import columns_of
from experiments.report.by_class import ByClass
from experiments.report.charts.chart import Figure
from experiments.report.charts.side_by_side import error_told
from experiments.report.figures import FIGURES, leads
from experiments.report.first_screen import commands, run_place, tiles
from experiments.report.front import for_main_target
from experiments.report.render import pictures, render, shown
from experiments.report.repeats import coefficients_standings, confirmation_standings
from experiments.report.summary import arena_told, only_compared, outcome, summary
from experiments.report.tables import coefficient_trials, data_sizes
from experiments.steps.noise import verdict
from scaler.stages import stage_rows
from search_spaces.records import InputError

_TABLES = (
    "search",
    "limits",
    "front",
    "confirmation",
    "coefficients",
    "dropped",
    "family",
    "classes",
    "mistakes",
    "comparison",
    "gradient_norms",
    "failures",
    "importance",
    "effects",
    "costs",
    "noise",
    "layers",
)
_TRIALS = (  # column -> digits; None: a count or text
    ("number", None),
    ("state", None),
    ("reward", 4),
    ("accuracy", 4),
    ("flops", None),
    ("params", None),
    ("epochs", None),
    ("seconds", 1),
    ("reason", None),
)
ENOUGH = 5  # finished trials for each choice, before its importance says something
ROWS = 50  # of the trials' table before more are asked for


def make_page(
    folder: RunFolder,
    *,
    tables: dict[str, pd.DataFrame],
    charts: dict[str, Figure],
    drawn: dict[str, dict[str, bytes]],
    told: ByClass | None = None,
    reload: int | None = None,
) -> str:
    """HTML that loads nothing from anywhere; whatever a run's names and errors hold is escaped.

    `reload`: seconds after which the page reads itself again, as of a run that is under way.
    """
    baseline, coefficients = folder.baseline(), folder.coefficients()
    stages = pd.DataFrame(stage_rows(baseline, **data_sizes(folder)) if baseline else [])
    metric, trials = folder.metric, tables["trials"]
    found = outcome(trials, folder.config.search, metric=folder.judged)
    searched = trials[trials["study"] == "search"]
    views = _views(folder, tables, searched)
    seen = pictures(charts, drawn)
    line = not only_compared(trials)
    return render(
        "page.html",
        charts=charts,
        data={
            "trials": _trials(searched, cost=folder.config.search.cost, metric=folder.judged),
            "page": ROWS,
            "reload": reload,
        },
        title=f"{folder.config.name}: scaler report",
        name=folder.config.name,
        metric=metric,
        error_told=error_told(metric),
        reload=reload,
        parts=_parts(tables, line=line),
        tiles=tiles(folder, tables) if line else [],
        commands=commands(folder) if line else [],
        place=run_place(folder),
        outcome=found + arena_told(folder) if line else [],
        summary=summary(folder, tables),
        tables={name: views.get(name) for name in _TABLES},
        figures={name: seen.get(name) for name in FIGURES},
        has_trials=len(searched) > 0,
        baseline=baseline.name if baseline else None,
        stages=shown(stages) if baseline else None,
        chosen=", ".join(f"{name} {value:g}" for name, value in coefficients or ()),
        winner_first=leads(tables["coefficients"], coefficients),
        verdicts=_verdicts(folder, trials),
        grown=_grown(folder.config.coefficients),
        surrogate=_surrogate(tables),
        few=_few(tables, searched),
        seeds=_seeds(tables),
        failed=_failed(tables),
        told=told,
        sheet=base64.b64encode(told.sheet).decode() if told and told.sheet else "",
        spent=_spent(tables),
        line=line,
        config=folder.config.replace(run=None).to_yaml(),  # to be repeated somewhere else
        facts=_facts(folder.environment()),
    )


def _views(
    folder: RunFolder, tables: dict[str, pd.DataFrame], searched: pd.DataFrame
) -> dict[str, Any]:
    """The tables as the page shows them, by name."""
    members = ("family", "comparison")
    with_choices = _with_choices(tables["search"], searched, folder.config.search)
    return {
        name: shown(
            with_choices if name == "search" else table,
            folder.metric if name in members else folder.judged,
        )
        for name, table in tables.items()
        if name in _TABLES
    }


def _trials(searched: pd.DataFrame, *, cost: str, metric: str) -> dict[str, Any]:
    """Columns and rows for the page's script; what is missing is null.

    `place` names the columns along the axes of the plot of cost against the metric.
    """
    columns = []
    for name, digits in _TRIALS:
        column: dict[str, Any] = {"name": name, "head": metric if name == "accuracy" else name}
        if pd.api.types.is_numeric_dtype(searched[name].dtype):
            column["right"] = True
        columns.append(column | ({} if digits is None else {"digits": digits}))
    values = [
        [None if pd.isna(v) else v for v in searched[name].astype("object")] for name, _ in _TRIALS
    ]
    rows = [list(row) for row in zip(*values, strict=True)]
    return {"columns": columns, "rows": rows, "place": [cost, "accuracy"]}  # of the dots


def _with_choices(
    best: pd.DataFrame, searched: pd.DataFrame, section: SearchSection
) -> pd.DataFrame:
    """The best trials with the choices in which they differ, in place of the networks' keys.

    As they are where the space was a file that is gone.
    """
    try:
        names = columns_of(searched_space(section).parameters(), map(str, searched))
    except InputError:
        return best
    rows = searched.set_index("number").loc[best["number"].tolist(), names].astype("string")
    differ = [name for name in names if rows[name].nunique(dropna=False) > 1]
    told = [
        ", ".join(f"{_short(name)} {row[name]}" for name in differ if pd.notna(row[name]))
        for _, row in rows.iterrows()
    ]
    return best.drop(columns="key").assign(differing_choices=pd.Series(told, dtype="string"))


def _short(name: str) -> str:
    """`1: kernel size` of `stages.1.block.kernel_size`."""
    stage, _, rest = name.removeprefix("stages.").partition(".")
    place, what = (f"{stage}: ", rest) if rest and stage.isdigit() else ("", name)
    return place + what.removeprefix("block.").replace("_", " ")


def _parts(tables: dict[str, pd.DataFrame], *, line: bool) -> list[str]:
    """The ids of the page's sections, in order."""
    parts = ["search", "front", "confirmation", "baseline"] if line else []
    parts += ["coefficients", "family"] if line else []
    parts += ["classes"]
    optional = {"front", "confirmation", "classes", "comparison", "failures"}
    parts += ["comparison", "failures"]
    parts = [part for part in parts if part not in optional or part in tables]
    return [*parts, *(["cost"] if "costs" in tables else []), "repeat"]


def _verdicts(folder: RunFolder, trials: pd.DataFrame) -> dict[str, str | None]:
    """What can be said of first and second."""
    directions = coefficients_standings(coefficient_trials(folder, trials))
    finalists = confirmation_standings(for_main_target(trials, folder.config.search))
    return {
        "confirmation": verdict(finalists, of="reward") if finalists else None,
        "coefficients": verdict(directions, of=folder.judged) if directions else None,
    }


def _grown(section: CoefficientsSection) -> str:
    if section.rule == "phi":
        return f"to phi = {section.phi:g}, whatever it then cost"
    within = f"within {section.flops_tolerance:.2%}"
    return f"to {section.target_ratio:g} times its own measured FLOPs, {within}"


def _few(tables: dict[str, pd.DataFrame], searched: pd.DataFrame) -> str:
    """A warning where the importances stand on few trials."""
    finished, choices = int((searched["state"] == "complete").sum()), 0
    if "importance" in tables:
        choices = tables["importance"]["parameter"].nunique()
    if not choices or finished >= ENOUGH * choices:
        return ""
    return (
        f"{finished} finished trials say little of {choices} choices: take what follows as a hint. "
        f"From about {ENOUGH * choices} trials on it can be trusted more."
    )


def _seeds(tables: dict[str, pd.DataFrame]) -> str:
    """How far two members may differ by chance, as the repeated trainings tell."""
    told = "Each member was trained once, with one seed."
    noise = tables.get("noise", pd.DataFrame())
    if noise.empty:
        return f"{told} How much another seed would change is not known."
    pooled = float(noise["pooled"].median())
    return (
        f"{told} Repeated trainings of this run differ by a standard deviation of about "
        f"{pooled * 100:.1f} points; smaller differences between members mean little."
    )


def _surrogate(tables: dict[str, pd.DataFrame]) -> str:
    if "surrogate" not in tables:
        return ""
    score = tables["surrogate"].iloc[0]
    return (
        f"The cost-aware model foretells the reward of {score['trials']:.0f} finished trials, each "
        f"left out in turn, with R² = {score['r2']:.2f} and a rank correlation of "
        f"{score['spearman']:.2f}; it errs by {score['rmse']:.4f} (root mean square)."
    )


def _failed(tables: dict[str, pd.DataFrame]) -> str:
    if "failures" not in tables:
        return ""
    failures = tables["failures"]
    kinds = failures["reason"].str.split(":").str[0].value_counts()
    counts = ", ".join(f"{number} {kind}" for kind, number in kinds.head(5).items())
    took = readable_seconds(float(failures["seconds"].sum()))
    return f"{len(failures)} trials failed and took {took}: {counts}."


def _spent(tables: dict[str, pd.DataFrame]) -> str:
    if "costs" not in tables:
        return ""
    costs = tables["costs"]
    whole, gpu = float(costs["seconds"].sum()), float(costs["gpu_seconds"].sum())
    stopped = float(costs.loc[costs["state"] != "complete", "seconds"].sum())
    on_gpu = f", {readable_seconds(gpu)} of it GPU time" if gpu else ", none of it on a GPU"
    return (
        f"All trials together took {readable_seconds(whole)} of their own time{on_gpu}; "
        f"{stopped / whole if whole else 0:.0%} went to trials that were stopped early or failed."
    )


def _facts(environment: dict[str, Any]) -> list[tuple[str, str]]:
    """(term, fact) of what the run's environment.json says."""
    facts = []
    if command := environment.get("command"):
        facts.append(("Command", _command(command)))
    if data := environment.get("data"):
        facts.append(("Data fingerprint", str(data)))
    versions = {"python": environment.get("python"), **environment.get("packages", {})}
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if known:
        facts.append(("Versions", known))
    if platform := environment.get("platform"):
        facts.append(("Platform", str(platform)))
    return facts


def _command(words: list[str]) -> str:
    """As it is typed: where the program lies on one machine is nobody's business."""
    program = PurePath(words[0]).name
    typed = ["python", "-m", "experiments"] if program == "__main__.py" else [program]
    return shlex.join([*typed, *words[1:]])
