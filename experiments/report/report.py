"""The report of a run: tables, figures and one page."""

import time
from pathlib import Path

import pandas as pd

from experiments.config.files import in_use, write_text
from experiments.config.messages import say
from experiments.config.run_folder import RunFolder
from experiments.report.by_class import look_by_class
from experiments.report.cells import plain
from experiments.report.charts.side_by_side import error_told
from experiments.report.figures import draw_figures, make_figures, write_figures
from experiments.report.page import make_page
from experiments.report.repeats import coefficients_standings
from experiments.report.summary import arena_told, only_compared, outcome
from experiments.report.tables import coefficient_trials, make_analysis, make_tables, write_tables
from experiments.steps.noise import verdict
from experiments.store.store import STUDIES, reading
from experiments.store.trials import load_trials

_IN_TERMINAL = (
    "member phi resolution flops times_baseline params accuracy test_accuracy seconds state"
)


def write_report(folder: RunFolder, *, reload: int | None = None) -> Path:
    """Write `tables/`, `figures/` and `report.html` anew; returns the page's path.

    Reads the store, config, baseline and coefficients alone, so that a run of any state has a
    report, and equal contents give equal files. `reload`: seconds after which an open page reads
    itself again. Raises InputError where something in the folder is damaged or cannot be written.
    """
    tables = make_tables(folder)
    tables |= make_analysis(folder, tables["trials"])
    told = look_by_class(folder, tables)
    if told is not None:
        tables["classes"] = told.table
        tables |= {"mistakes": told.mistakes} if len(told.mistakes) else {}
    charts = make_figures(folder, tables, told)
    drawn = draw_figures(charts)
    page = make_page(folder, tables=tables, charts=charts, drawn=drawn, told=told, reload=reload)
    write_tables(folder.tables, tables)
    write_figures(folder.figures, drawn)
    write_text(folder.report, page)
    return folder.report


def result_text(folder: RunFolder) -> str:
    """What came out, for a terminal: the family, or the networks that were compared."""
    tables = make_tables(folder)
    if only_compared(tables["trials"]):
        return _comparison_text(tables, folder.metric)
    family = tables["family"]
    if family.empty:
        if not (folder.path / "baseline.yaml").is_file():
            return "no baseline has been found yet"
        return f"no family has been trained yet; `scaler train {folder.path}` trains the baseline"
    shown = plain(family[_IN_TERMINAL.split()], folder.metric)
    return f"{shown}\n\nFLOPs are multiply-adds."


def outcome_of(folder: RunFolder) -> list[str]:
    """In sentences: which share of the budget the found network uses, and what it was worth."""
    told = outcome(load_trials(folder.path), folder.config.search, metric=folder.judged)
    return [*told, *arena_told(folder)]


def coefficients_text(folder: RunFolder) -> str:
    """The directions ranked, what can be said of the first two, and what was left out."""
    tables = make_tables(folder)
    ranked = coefficients_standings(coefficient_trials(folder, tables["trials"]))
    metric = folder.judged
    parts = [plain(tables["coefficients"], metric), verdict(ranked, of=metric)]
    if "dropped" in tables:
        parts.append(f"Left out:\n{plain(tables['dropped'])}")
    return "\n\n".join([*parts, "FLOPs are multiply-adds."])


def _comparison_text(tables: dict[str, pd.DataFrame], metric: str) -> str:
    if "comparison" not in tables:
        return "no network of the comparison has been trained yet"
    text = (
        f"{plain(tables['comparison'])}\n\n"
        "Errors after the last epoch: in training (augmented images), on the validation part, on "
        f"the test part. FLOPs are multiply-adds.{error_told(metric)}"
    )
    if tables["gradient_norms"].empty:
        return text
    first = "Gradient norms of the first and the last weight at the first step:"
    return f"{text}\n\n{first}\n\n{plain(tables['gradient_norms'])}"


LOOK = 1.0  # seconds between looks at whether the run has ended


def watch_run(folder: RunFolder, *, every: float) -> Path:
    """Write the report now, then wherever trials have ended, `every` seconds at the soonest.

    Ends with the run, or with Ctrl-C; the last page no longer reads itself again. A run that nobody
    works on, as far as this machine knows, is written once.
    """
    seen = -1
    try:
        while in_use(folder.path):
            ended = _ended(folder)
            if ended != seen:
                path = write_report(folder, reload=max(1, round(every)))
                say(f"{ended} trials: {path}" if seen < 0 else f"{ended} trials")
                seen = ended
            _wait(folder, every)
        say("nobody works on the run" + (" any more" if seen >= 0 else ""))
    except KeyboardInterrupt:
        say("stopped watching; the run goes on")
    return write_report(folder)


def _wait(folder: RunFolder, seconds: float) -> None:
    until = time.monotonic() + seconds
    while in_use(folder.path) and time.monotonic() < until:
        time.sleep(min(LOOK, max(0.0, until - time.monotonic())))


def _ended(folder: RunFolder) -> int:
    with reading(folder) as snapshot:
        return sum(1 for study in STUDIES for _ in snapshot.rows(study))
