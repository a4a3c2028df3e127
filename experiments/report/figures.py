"""The figures of a run, as PNG."""

import io
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.files import replace_file
from experiments.report.comparison_figures import (
    draw_errors,
    draw_gradient_norms,
    panels_of,
)
from experiments.report.comparison_tables import compared_trials
from experiments.report.family_figure import draw_family
from experiments.report.repeats_figures import draw_coefficients, draw_confirmation
from experiments.report.repeats_tables import coefficients_standings, confirmation_standings
from experiments.report.search_figures import draw_flops_accuracy, draw_history
from experiments.report.tables import coefficient_trials
from experiments.report.trials import load_curves
from experiments.run_folder import RunFolder
from search_spaces.records import InputError

FIGURES = (
    "flops_accuracy",
    "search_history",
    "confirmation",
    "coefficients",
    "family",
    "comparison",
    "gradient_norms",
)


def make_figures(folder: RunFolder, tables: dict[str, pd.DataFrame]) -> dict[str, bytes]:
    """PNG by name of FIGURES; one for which no trial has an accuracy yet is not there."""
    searched = tables["trials"][tables["trials"]["study"] == "search"]
    scored = searched[searched["state"].isin(["complete", "pruned"])].dropna(subset=["accuracy"])
    members = tables["family"][tables["family"]["state"] == "complete"]
    section = folder.config.search
    baseline = folder.baseline()
    key = baseline.key if baseline else None
    figures: dict[str, bytes] = {}
    if len(scored):
        figures["flops_accuracy"] = _png(
            lambda axes: draw_flops_accuracy(axes[0], scored, section=section, baseline=key)
        )
        figures["search_history"] = _png(lambda axes: draw_history(axes[0], searched))
    if "confirmation" in tables:
        finalists = confirmation_standings(tables["trials"])
        figures["confirmation"] = _png(
            lambda axes: draw_confirmation(axes[0], finalists, tables["confirmation"])
        )
    directions = coefficients_standings(coefficient_trials(folder, tables["trials"]))
    if directions:
        figures["coefficients"] = _png(
            lambda axes: draw_coefficients(axes[0], directions, tables["coefficients"])
        )
    if len(members):
        figures["family"] = _png(lambda axes: draw_family(axes[0], members))
    if "comparison" in tables:
        figures |= _comparison_figures(folder, tables)
    return figures


def _comparison_figures(folder: RunFolder, tables: dict[str, pd.DataFrame]) -> dict[str, bytes]:
    compared = compared_trials(tables["trials"])
    curves = load_curves(folder.path, study="comparison")
    count = len(panels_of(compared))
    figures = {"comparison": _png(lambda axes: draw_errors(axes, compared, curves), panels=count)}
    if len(tables["gradient_norms"]):
        figures["gradient_norms"] = _png(
            lambda axes: draw_gradient_norms(axes, compared, curves), panels=count
        )
    return figures


def write_figures(folder: RunFolder, figures: dict[str, bytes]) -> None:
    """`figures/<name>.png`; what an earlier report drew and this one does not is taken away.

    Raises InputError where the folder cannot be written to.
    """
    try:
        folder.figures.mkdir(parents=True, exist_ok=True)
        for name in FIGURES:
            path = folder.figures / f"{name}.png"
            if name in figures:
                replace_file(path, partial(_write, figures[name]))
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write '{folder.figures}': {error.strerror}; "
            f"name a folder that can be written to"
        ) from None


def _write(picture: bytes, file: BinaryIO) -> None:
    file.write(picture)


def _png(draw: Callable[[list[Axes]], None], *, panels: int = 1) -> bytes:
    """A picture, 624 pixels high, of panels side by side; the same bytes for the same data."""
    width = max(8.0, 4.4 * panels)
    figure = Figure(figsize=(width, 5.2), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels, sharey=True, squeeze=False)[0])
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    draw(axes)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
