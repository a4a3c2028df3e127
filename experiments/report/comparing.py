"""One page that compares runs, with its tables and figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.config.files import write_text
from experiments.config.run_folder import RunFolder
from experiments.report.analysis import compare_runs, search_regret
from experiments.report.charts import side_by_side
from experiments.report.charts.chart import Figure
from experiments.report.figures import draw_figures, write_figures
from experiments.report.render import pictures, render, shown
from experiments.report.repeats import confirmation_standings
from experiments.report.tables import load_family, write_tables
from experiments.store.trials import load_trials, named_runs
from search_spaces.records import InputError

FIGURES = ("best_so_far", "fronts", "families")
Tables = dict[str, pd.DataFrame]


def write_comparison(runs: Sequence[str | Path], out: Path) -> tuple[Path, Tables]:
    """`report.html`, `tables/` and `figures/` in `out`; returns the page's path and the tables.

    Nothing is written into the runs. Raises InputError for fewer than two runs, for a folder that
    is no run, and where `out` is a run folder itself or cannot be written to.
    """
    if (out / "config.yaml").exists():
        raise InputError(f"'{out}' is a run folder; name another folder with --out")
    named = named_runs(list(runs))
    trials = load_trials(list(runs))
    tables = {
        "runs": _runs(named, trials),
        "verdicts": compare_runs(list(runs)),
        "families": load_family(list(runs)),
    }
    metrics = {folder.metric for _, folder in named}
    metric = metrics.pop() if len(metrics) == 1 else "metric"
    figures = _figures(named, trials, tables, metric)
    drawn = draw_figures(figures)
    seen = {**tables, "verdicts": tables["verdicts"].drop(columns="statement")}
    page = render(
        "comparison.html",
        charts=figures,
        data={"reload": None},
        title="Runs compared: scaler report",
        reload=None,
        metric=metric,
        names=[name for name, _ in named],
        tables={name: shown(table, metric) if len(table) else None for name, table in seen.items()},
        figures={**dict.fromkeys(FIGURES), **pictures(figures, drawn)},
        statements=statements(tables["verdicts"]),
        configs=_differences([folder for _, folder in named]),
    )
    write_tables(out / "tables", tables)
    write_figures(out / "figures", drawn, names=FIGURES)
    write_text(out / "report.html", page)
    return out / "report.html", tables


def _runs(named: list[tuple[str, RunFolder]], trials: pd.DataFrame) -> pd.DataFrame:
    """A row a run: what was asked, how many trials ended how, its best and its winner."""
    rows: list[dict[str, Any]] = []
    for name, folder in named:
        own = trials[trials["run"] == name]
        searched = own[own["study"] == "search"]
        done = searched[searched["state"] == "complete"].sort_values("reward", ascending=False)
        best = done.iloc[0] if len(done) else None
        ranked = confirmation_standings(own)
        section = folder.config.search
        rows.append(
            {
                "run": name,
                "sampler": section.sampler,
                "target": section.known_target,
                "finished": len(done),
                "stopped": int((searched["state"] == "pruned").sum()),
                "failed": int((searched["state"] == "fail").sum()),
                "best_reward": None if best is None else best["reward"],
                "accuracy": None if best is None else best["accuracy"],
                "flops": None if best is None else best["flops"],
                "params": None if best is None else best["params"],
                "winner": ranked[0].describe() if ranked else "",
                "seconds": own["seconds"].sum(),
            }
        )
    kinds = {"run": "string", "sampler": "string", "winner": "string", "target": "float64"}
    kinds |= dict.fromkeys(("finished", "stopped", "failed", "flops", "params"), "Int64")
    kinds |= dict.fromkeys(("best_reward", "accuracy", "seconds"), "float64")
    return pd.DataFrame(rows).astype(kinds)


def _figures(
    named: list[tuple[str, RunFolder]], trials: pd.DataFrame, tables: Tables, metric: str
) -> dict[str, Figure]:
    style = side_by_side.styles([name for name, _ in named])
    done = trials[(trials["study"] == "search") & (trials["state"] == "complete")]
    figures = {}
    regret = search_regret(trials)
    if len(regret):
        figures["best_so_far"] = side_by_side.best_so_far(regret, style)
    costs = {folder.config.search.cost for _, folder in named}
    cost = costs.pop() if len(costs) == 1 else "flops"
    known = done.dropna(subset=["accuracy", cost])
    if len(known):
        figures["fronts"] = side_by_side.fronts(known, style, cost=cost, metric=metric)
    members = tables["families"]
    members = members[members["state"] == "complete"]
    if len(members):
        figures["families"] = side_by_side.families(members, style, metric=metric)
    return figures


def statements(verdicts: pd.DataFrame) -> list[tuple[str, str]]:
    """(which two and what of them, what can be said) of each row."""
    return [
        (f"{first} and {second}: {what}", statement)
        for first, second, what, statement in zip(
            verdicts["first"],
            verdicts["second"],
            verdicts["what"],
            verdicts["statement"],
            strict=True,
        )
    ]


def _differences(folders: list[RunFolder]) -> list[tuple[str, list[str]]]:
    """(setting, its value in each run) of the settings that are not the same in all."""
    flat = []
    for folder in folders:
        sections = folder.config.model_dump(mode="json", exclude={"run", "name"})
        flat.append(
            {
                f"{section}.{key}" if key else section: value
                for section, values in sections.items()
                for key, value in (values if isinstance(values, dict) else {"": values}).items()
            }
        )
    names = list(dict.fromkeys(name for one in flat for name in one))
    rows = [(name, [str(one.get(name, "-")) for one in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]
