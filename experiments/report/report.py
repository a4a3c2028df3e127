"""The report of a run: tables, figures and one page."""

from pathlib import Path

import pandas as pd

from experiments.config.files import write_text
from experiments.config.run_folder import RunFolder
from experiments.report.analysed import make_analysis
from experiments.report.cells import plain
from experiments.report.figures import draw_figures, make_figures, write_figures
from experiments.report.page.page import make_page
from experiments.report.repeats_tables import coefficients_standings
from experiments.report.summary import only_compared
from experiments.report.tables import coefficient_trials, make_tables, write_tables
from experiments.steps.noise import verdict

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
    charts = make_figures(folder, tables)
    drawn = draw_figures(charts)
    page = make_page(folder, tables=tables, charts=charts, drawn=drawn, reload=reload)
    write_tables(folder, tables)
    write_figures(folder, drawn)
    write_text(folder.report, page)
    return folder.report


def result_text(folder: RunFolder) -> str:
    """What came out, for a terminal: the family, or the networks that were compared."""
    tables = make_tables(folder)
    if only_compared(tables["trials"]):
        return _comparison_text(tables)
    family = tables["family"]
    if family.empty:
        return "no member of the family has been trained yet"
    return f"{plain(family[_IN_TERMINAL.split()])}\n\nFLOPs are multiply-adds."


def coefficients_text(folder: RunFolder) -> str:
    """The directions ranked, what can be said of the first two, and what was left out."""
    tables = make_tables(folder)
    ranked = coefficients_standings(coefficient_trials(folder, tables["trials"]))
    parts = [plain(tables["coefficients"]), verdict(ranked, of="accuracy")]
    if "dropped" in tables:
        parts.append(f"Left out:\n{plain(tables['dropped'])}")
    return "\n\n".join([*parts, "FLOPs are multiply-adds."])


def _comparison_text(tables: dict[str, pd.DataFrame]) -> str:
    if "comparison" not in tables:
        return "no network of the comparison has been trained yet"
    text = (
        f"{plain(tables['comparison'])}\n\n"
        "Errors after the last epoch: in training (augmented images), on the validation part, on "
        "the test part. FLOPs are multiply-adds."
    )
    if tables["gradient_norms"].empty:
        return text
    first = "Gradient norms of the first and the last weight at the first step:"
    return f"{text}\n\n{first}\n\n{plain(tables['gradient_norms'])}"
