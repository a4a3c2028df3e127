"""The figures of a run, as data and as PNG and SVG files."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.config.files import write_bytes
from experiments.config.run_folder import RunFolder
from experiments.report.analysis import at_common_epoch
from experiments.report.analysis.choices import columns_of
from experiments.report.by_class import ByClass
from experiments.report.charts import analysis, classes, growth, network, search, side_by_side
from experiments.report.charts import family as families
from experiments.report.charts.chart import Figure
from experiments.report.charts.drawing import FORMATS, draw
from experiments.report.charts.overview import overview
from experiments.report.charts.parallel import parallel
from experiments.report.front import for_main_target
from experiments.report.repeats import (
    coefficients_standings,
    confirmation_standings,
    known_standings,
)
from experiments.report.tables import coefficient_trials, compared_trials
from experiments.store.trials import load_curves
from scaler.compound import CompoundCoefficients

FIGURES = (
    "overview",
    "search_history",
    "flops_accuracy",
    "limits",
    "importance",
    "parallel",
    "effects",
    "learning_curves",
    "confirmation",
    "baseline",
    "surface",
    "coefficients",
    "family",
    "confusion",
    "precision_recall",
    "costs",
    "comparison",
    "gradient_norms",
)
Tables = dict[str, pd.DataFrame]


def make_figures(
    folder: RunFolder, tables: Tables, told: ByClass | None = None
) -> dict[str, Figure]:
    """Figures by name of FIGURES; one for which no trial has what it shows is not there.

    `tables` are those of `make_tables` and `make_analysis` together; `told` is what a network told
    of each class.
    """
    found = {
        **_search(folder, tables),
        **_choices(tables, folder.judged),
        **_scaled(folder, tables),
        **_compared(folder, tables),
    }
    if told is not None and told.pairs is not None and len(told.pairs):
        how = {"name": told.name, "part": told.part}
        found["confusion"] = classes.confusion_map(told.pairs, told.table, **how)
    if told is not None and told.curves is not None and len(told.curves):
        how = {"name": told.name, "part": told.part}
        found["precision_recall"] = classes.precision_recall(told.curves, told.table, **how)
    if "costs" in tables and tables["costs"]["seconds"].sum() > 0:
        regret = tables.get("regret", pd.DataFrame())
        found["costs"] = analysis.costs(tables["costs"], regret)
    return {name: found[name] for name in FIGURES if name in found}


def leads(grid: pd.DataFrame, chosen: CompoundCoefficients | None) -> bool:
    """Whether the first row is the chosen one; a coefficients file may have come from elsewhere."""
    if grid.empty or chosen is None:
        return False
    return all(grid.iloc[0][name] == value for name, value in chosen)


def _search(folder: RunFolder, tables: Tables) -> dict[str, Figure]:
    searched = tables["trials"][tables["trials"]["study"] == "search"]
    scored = searched[searched["state"].isin(["complete", "pruned"])].dropna(subset=["accuracy"])
    if scored.empty:
        return {}
    baseline = folder.baseline()
    key = baseline.key if baseline else None
    told = load_curves(folder.path, study="search")
    section = folder.config.search
    mains = for_main_target(tables["trials"], section)
    ranked = confirmation_standings(mains)
    members = tables["family"][tables["family"]["state"] == "complete"]
    winner, metric = ranked[0].contender if ranked else None, folder.judged
    whole = overview(mains, members, metric=metric, winner=winner)
    figures = {
        **({"overview": whole} if whole else {}),
        "search_history": search.history(searched),
        "flops_accuracy": search.flops_accuracy(
            scored,
            section=section,
            metric=metric,
            baseline=key,
            front=tables.get("front"),
        ),
    }
    if limited := search.limits_accuracy(scored, section=section, metric=metric, baseline=key):
        figures["limits"] = limited
    if len(told):
        figures["learning_curves"] = search.learning_curves(scored, told, metric=metric)
    if len(told) and "effects" in tables:
        alike = at_common_epoch(scored, told)
        if drawn := parallel(alike, order=_order(tables), metric=metric):
            figures["parallel"] = drawn
    return figures


def _choices(tables: Tables, metric: str) -> dict[str, Figure]:
    if "effects" not in tables:
        return {}
    effects = tables["effects"]
    order = _order(tables)
    figures = {}
    if "importance" in tables:
        figures["importance"] = analysis.importance(tables["importance"], metric=metric)
    first = effects.iloc[0]
    return {
        **figures,
        "effects": analysis.effects(effects, overall=first["mean"] - first["effect"], order=order),
    }


def _order(tables: Tables) -> list[str]:
    """The choices that differ, the most important for the reward first."""
    order = list(tables["effects"].sort_values("p", kind="stable")["choice"])
    if "importance" in tables:
        importance = tables["importance"]
        named = importance[importance["of"] == "reward"]["parameter"]
        order = [*columns_of(named, order), *order]
    return list(dict.fromkeys(order))


def _scaled(folder: RunFolder, tables: Tables) -> dict[str, Figure]:
    figures = {}
    if "confirmation" in tables:
        trials = tables["trials"]
        trials = for_main_target(trials, folder.config.search)
        finalists = [*confirmation_standings(trials), *known_standings(trials)]
        figures["confirmation"] = growth.confirmation(finalists, tables["confirmation"])
    baseline = folder.baseline()
    if baseline is not None and "layers" in tables:
        figures["baseline"] = network.network_chart(tables["layers"], name=baseline.name)
    directions = coefficients_standings(coefficient_trials(folder, tables["trials"]))
    if directions:
        table = tables["coefficients"]
        winner = leads(table, folder.coefficients())
        figures["surface"] = growth.surface(table, winner=winner, metric=folder.judged)
        figures["coefficients"] = growth.coefficients(directions, table, metric=folder.judged)
    members = tables["family"][tables["family"]["state"] == "complete"]
    if len(members):
        figures["family"] = families.family(members, metric=folder.metric)
    return figures


def _compared(folder: RunFolder, tables: Tables) -> dict[str, Figure]:
    if "comparison" not in tables:
        return {}
    compared = compared_trials(tables["trials"])
    told = load_curves(folder.path, study="comparison")
    figures = {"comparison": side_by_side.comparison(compared, told, metric=folder.metric)}
    if len(tables["gradient_norms"]):
        figures["gradient_norms"] = side_by_side.gradients_by_layer(compared, told)
    return figures


def draw_figures(figures: dict[str, Figure]) -> dict[str, dict[str, bytes]]:
    """Each figure as PNG and SVG, by name and format."""
    return {name: draw(figure) for name, figure in figures.items()}


def write_figures(
    folder: Path, drawn: dict[str, dict[str, bytes]], *, names: Sequence[str] = FIGURES
) -> None:
    """`<name>.png` and `<name>.svg` in `folder`. Raises InputError where it cannot be written to.

    Those of `names` that are not in `drawn` are removed: an earlier report drew them, and they are
    no longer true.
    """
    for name, files in drawn.items():
        for ending, data in files.items():
            write_bytes(folder / f"{name}.{ending}", data)
    for name in set(names) - drawn.keys():
        for ending in FORMATS:
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
