"""Charts drawn by matplotlib, as PNG and SVG: the same bytes for the same data."""

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from experiments.config.plot_style import LIGHT
from experiments.report.charts.chart import Axis, Chart, Figure, Marks, readable_number

FORMATS = ("png", "svg")
MANY = 2_000  # marks from which an SVG holds them as a picture

_SYMBOLS = {
    "circle": "o",
    "ring": "o",
    "star": "*",
    "cross": "x",
    "tick": "|",
    "square": "s",
    "diamond": "D",
}
_SIDES: dict[str, dict[str, Any]] = {
    "above": {"xytext": (0, 5), "ha": "center", "va": "bottom"},
    "below": {"xytext": (0, -5), "ha": "center", "va": "top"},
    "right": {"xytext": (6, 0), "ha": "left", "va": "center"},
    "left": {"xytext": (-6, 0), "ha": "right", "va": "center"},
    "middle": {"xytext": (0, 0), "ha": "center", "va": "center"},
}


def draw(figure: Figure) -> dict[str, bytes]:
    """The figure by format; panels stand side by side and share no axis."""
    panels = figure.panels
    size = (max(8.0, 4.6 * len(panels)), max(p.height for p in panels) / 80)
    canvas = Canvas(figsize=size, dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(canvas)
    for axes, chart in zip(canvas.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, chart)
        _legend(canvas, axes, alone=len(panels) == 1)
    files = {}
    with mpl.rc_context({"svg.hashsalt": "scaler", "svg.fonttype": "none"}):
        for ending in FORMATS:
            file = io.BytesIO()
            facts = {"Software": None} if ending == "png" else {"Date": None}
            canvas.savefig(file, format=ending, metadata=facts)
            canvas.set_layout_engine("none")  # laid out once, the second has the same places
            files[ending] = file.getvalue()
    return files


def _draw(axes: Axes, chart: Chart) -> None:
    axes.set_title(chart.title, fontsize=11, pad=14)
    axes.set_axisbelow(True)
    if chart.plain:
        axes.set_axis_off()
        axes.set_aspect("equal")
    else:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=LIGHT["line"], linewidth=0.7)
    for axis, side in ((chart.x, "x"), (chart.y, "y")):
        _axis(axes, axis, side)
    for marks in chart.marks:
        _mark(axes, marks)
    for side, place, name in chart.rules:
        line = axes.axvline if side == "x" else axes.axhline
        line(place, color=LIGHT["ink"], linestyle=(0, (1, 2)), linewidth=1.2, label=name or "_")
    for note in chart.notes:
        axes.annotate(
            note.text,
            (note.x, note.y),
            textcoords="offset points",
            color=LIGHT[note.colour],
            fontsize=8,
            annotation_clip=False,
            **_SIDES[note.side],
        )


def _axis(axes: Axes, axis: Axis, side: str) -> None:
    own = axes.xaxis if side == "x" else axes.yaxis
    own.set_label_text(axis.label)
    if axis.log:
        (axes.set_xscale if side == "x" else axes.set_yscale)("log")
        own.set_minor_formatter(NullFormatter())
    if axis.limits:
        (axes.set_xlim if side == "x" else axes.set_ylim)(axis.limits)
    if axis.ticks is not None:
        own.set_ticks([place for place, _ in axis.ticks], [text for _, text in axis.ticks])
        own.set_tick_params(labelsize=8)
        if axis.slanted:
            for label in own.get_ticklabels():
                label.set(rotation=-30, ha="left", rotation_mode="anchor")
    elif axis.format:
        own.set_major_formatter(FuncFormatter(lambda v, _: readable_number(v, axis.format)))
    if axis.whole:
        own.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if axis.hidden:
        own.set_visible(False)


def _mark(axes: Axes, marks: Marks) -> None:
    colour, name = LIGHT[marks.colour], marks.name or "_"
    x, y = np.asarray(marks.x, dtype=float), np.asarray(marks.y, dtype=float)
    style: dict[str, Any] = {"color": colour, "label": name, "alpha": marks.opacity}
    if marks.kind == "heat":
        _heat(axes, marks, x, y)
    elif marks.kind in ("bars", "across"):
        _bars(axes, marks, x, y, style)
    elif marks.kind == "dots":
        _dots(axes, marks, x, y, style)
    else:
        axes.plot(
            x,
            y,
            linestyle=(0, (4, 2)) if marks.dashed else "-",
            linewidth=marks.width * 0.8,
            drawstyle="steps-post" if marks.kind == "steps" else "default",
            marker=_SYMBOLS[marks.symbol] if marks.symbol and marks.kind == "line" else None,
            markersize=marks.size * 0.6,
            rasterized=len(x) > MANY,
            **style,
        )


def _dots(axes: Axes, marks: Marks, x: Any, y: Any, style: dict[str, Any]) -> None:
    if marks.low is not None and marks.high is not None:
        middle = x if marks.across else y
        ends = np.abs(np.array([marks.low, marks.high], dtype=float) - middle)
        known = np.isfinite(ends).all(axis=0)
        spans = {"xerr" if marks.across else "yerr": ends[:, known]}
        axes.errorbar(
            x[known],
            y[known],
            fmt="none",
            ecolor=style["color"],
            elinewidth=1.3,
            capsize=3,
            **spans,
        )
    symbol = marks.symbol or "circle"
    look: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.6}
    if symbol == "ring":
        look = {"facecolors": "none", "edgecolors": style.pop("color"), "linewidths": 2}
    elif symbol in ("cross", "tick"):
        look = {"linewidths": 1.2}
    elif symbol == "star":
        look = {"edgecolors": LIGHT["ink"], "linewidths": 0.8}
    if marks.values is not None:
        style.pop("color", None)
        look |= {"c": marks.values, "cmap": "viridis", "edgecolors": LIGHT["soft"]}
    drawn = axes.scatter(
        x,
        y,
        s=(marks.size * 0.78) ** 2,
        marker=_SYMBOLS[symbol],
        zorder=4 if symbol in ("star", "ring") else 3,
        rasterized=len(x) > MANY,
        **look,
        **style,
    )
    if marks.values is not None:
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.colorbar(drawn, ax=axes, label=marks.scale, shrink=0.8)


def _heat(axes: Axes, marks: Marks, x: Any, y: Any) -> None:
    """Cells that are not there stay white."""
    left, low = x.min(), y.min()
    grid = np.zeros((int(y.max() - low) + 1, int(x.max() - left) + 1))
    grid[(y - low).astype(int), (x - left).astype(int)] = marks.values
    shades = LinearSegmentedColormap.from_list("cells", ["#ffffff", LIGHT["blue"]])
    ends = (left - 0.5, x.max() + 0.5, low - 0.5, y.max() + 0.5)
    look: dict[str, Any] = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
    drawn = axes.imshow(grid, cmap=shades, vmin=0, vmax=1, extent=ends, **look)
    axes.grid(visible=False)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.colorbar(drawn, ax=axes, label=marks.scale, shrink=0.8)


def _bars(axes: Axes, marks: Marks, x: Any, y: Any, style: dict[str, Any]) -> None:
    widths = 0.8 if marks.widths is None else np.asarray(marks.widths, dtype=float)
    base = 0 if marks.base is None else np.asarray(marks.base, dtype=float)
    if marks.kind == "across":
        axes.barh(y, x, height=widths, left=base, **style)
    else:
        axes.bar(x, y, width=widths, bottom=base, edgecolor="white", linewidth=0.5, **style)


def _legend(canvas: Canvas, axes: Axes, *, alone: bool) -> None:
    """Under the axes, where it covers no mark."""
    handles, names = axes.get_legend_handles_labels()
    if not handles:
        return
    if alone:
        canvas.legend(
            handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9
        )
    else:
        axes.legend(
            handles,
            names,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.17),
            ncols=2,
            frameon=False,
            fontsize=8,
        )
