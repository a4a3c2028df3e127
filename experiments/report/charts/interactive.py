"""Charts as plotly's JSON. Colours are roles, as @blue: the page puts those of its scheme in."""

import html
import math
from collections.abc import Sequence
from typing import Any

from experiments.report.charts.chart import Axis, Chart, Marks, Numbers

_SYMBOLS = {
    "circle": "circle",
    "ring": "circle-open",
    "star": "star",
    "cross": "x-thin-open",
    "tick": "line-ns-open",
    "square": "square",
    "diamond": "diamond",
}
_SIDES: dict[str, dict[str, Any]] = {
    "above": {"yanchor": "bottom", "yshift": 3},
    "below": {"yanchor": "top", "yshift": -3},
    "right": {"xanchor": "left", "xshift": 4},
    "left": {"xanchor": "right", "xshift": -4},
    "middle": {"xanchor": "center", "yanchor": "middle"},
}

FEW = 12  # whole numbers along an axis that each get a tick


def to_plotly(chart: Chart) -> dict[str, Any]:
    """{data, layout}; whatever text a run holds is escaped: plotly reads some HTML."""
    legend = any(marks.name for marks in chart.marks) or any(name for *_, name in chart.rules)
    traces = [_trace(marks, chart) for marks in chart.marks]
    layout: dict[str, Any] = {
        "height": chart.height,
        "showlegend": legend,
        "xaxis": _axis(chart.x, [marks.x for marks in chart.marks]),
        "yaxis": _axis(chart.y, [marks.y for marks in chart.marks]),
        "annotations": [_note(note, chart) for note in chart.notes],
        "shapes": [_rule(rule) for rule in chart.rules],
        "bargap": 0,
        "barmode": "overlay",
    }
    if chart.plain:
        layout["xaxis"] |= {"visible": False}
        layout["yaxis"] |= {"visible": False, "scaleanchor": "x"}
    return {"data": traces, "layout": layout}


def _trace(marks: Marks, chart: Chart) -> dict[str, Any]:
    colour = f"@{marks.colour}"
    trace: dict[str, Any] = {
        "name": html.escape(marks.name),
        "showlegend": bool(marks.name),
        "x": _numbers(marks.x),
        "y": _numbers(marks.y),
        "opacity": marks.opacity,
        **_hover(marks, chart),
    }
    if marks.kind == "heat":
        return trace | _heat(marks)
    if marks.kind in ("bars", "across"):
        lies = marks.kind == "across"
        trace |= {"type": "bar", "orientation": "h" if lies else "v"}
        trace["marker"] = {"color": colour, "line": {"width": 0.5, "color": "@paper"}}
        if marks.widths is not None:
            trace["width"] = _numbers(marks.widths)
        if marks.base is not None:
            trace["base"] = _numbers(marks.base)
        return trace
    trace |= {"type": "scatter", "mode": "markers" if marks.kind == "dots" else "lines"}
    if marks.kind == "dots":
        trace |= _dots(marks, colour)
    else:
        dash = "dash" if marks.dashed else "solid"
        trace["line"] = {"color": colour, "width": marks.width, "dash": dash}
        if marks.kind == "steps":
            trace["line"]["shape"] = "hv"
        elif marks.symbol is not None:
            trace["mode"] = "lines+markers"
            trace["marker"] = {"symbol": _SYMBOLS[marks.symbol], "size": marks.size * 0.8}
            trace["marker"]["color"] = colour
    return trace


def _heat(marks: Marks) -> dict[str, Any]:
    """Cells that are not there are as the page."""
    bar = {"title": {"text": html.escape(marks.scale), "side": "right"}, "thickness": 12}
    return {
        "type": "heatmap",
        "z": _numbers(marks.values if marks.values is not None else []),
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "@paper"], [1, "@blue"]],
        "colorbar": {**bar, "tickformat": ".0%"},
    }


def _dots(marks: Marks, colour: str) -> dict[str, Any]:
    symbol = marks.symbol or "circle"
    marker: dict[str, Any] = {"symbol": _SYMBOLS[symbol], "size": marks.size, "color": colour}
    if symbol in ("cross", "tick", "ring"):
        marker["line"] = {"width": 2 if symbol == "ring" else 1.4, "color": colour}
    else:
        edge = "@ink" if symbol == "star" else "@paper"
        marker["line"] = {"width": 0.8, "color": edge}
    if marks.values is not None:
        bar = {"title": {"text": html.escape(marks.scale), "side": "right"}, "thickness": 12}
        marker |= {"color": _numbers(marks.values), "colorscale": "Viridis", "showscale": True}
        marker |= {"colorbar": bar, "line": {"width": 1, "color": "@soft"}}
    own: dict[str, Any] = {"marker": marker}
    if marks.low is not None and marks.high is not None:
        middle = marks.x if marks.across else marks.y
        ends = zip(middle, marks.low, marks.high, strict=True)
        spans = [(high - at, at - low) for at, low, high in ends]
        own["error_x" if marks.across else "error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": _numbers([up for up, _ in spans]),
            "arrayminus": _numbers([down for _, down in spans]),
            "color": colour,
            "thickness": 1.4,
            "width": 4,
        }
    return own


def _hover(marks: Marks, chart: Chart) -> dict[str, Any]:
    if marks.texts is not None:
        texts = [html.escape(text).replace("\n", "<br>") for text in marks.texts]
        return {"hovertext": texts, "hovertemplate": "%{hovertext}<extra></extra>"} | _ids(marks)
    if marks.kind == "steps" or (marks.numbers is None and marks.symbol is None):
        return {"hoverinfo": "skip"}
    x, y = (html.escape(axis.label) for axis in (chart.x, chart.y))
    shown = f"{x}: %{{x}}<br>{y}: %{{y}}"
    if marks.numbers is not None:
        shown = f"trial %{{customdata}}<br>{shown}"
    return {"hovertemplate": f"{shown}<extra>{html.escape(marks.name)}</extra>"} | _ids(marks)


def _ids(marks: Marks) -> dict[str, Any]:
    return {} if marks.numbers is None else {"customdata": [int(n) for n in marks.numbers]}


def _axis(axis: Axis, places: Sequence[Numbers]) -> dict[str, Any]:
    """`places` are those of the marks along it."""
    own: dict[str, Any] = {"title": {"text": html.escape(axis.label)}}
    if axis.log:
        own |= {"type": "log"}
    if axis.limits:
        ends = [math.log10(end) for end in axis.limits] if axis.log else list(axis.limits)
        own["range"] = _numbers(ends)
    if axis.ticks is not None:
        own["tickvals"] = _numbers([place for place, _ in axis.ticks])
        own["ticktext"] = [html.escape(text).replace("\n", "<br>") for _, text in axis.ticks]
        if axis.slanted or len(axis.ticks) <= 12:
            own["tickangle"] = 45 * axis.slanted
    if axis.format:
        hover = {".3s": ".4s", ".1~%": ".2%"}.get(axis.format, axis.format)
        own |= {"tickformat": axis.format, "hoverformat": hover}
        if axis.format == ".3s":
            own["tickformat"] = "~s"
    elif not axis.whole:
        own["hoverformat"] = ".4~f"
    if axis.whole:
        own |= {"tickformat": "d", "hoverformat": "d"} | _each_one(places)
    if axis.hidden:
        own |= {"visible": False}
    return own


def _each_one(places: Sequence[Numbers]) -> dict[str, Any]:
    """A tick at each of a few whole numbers: plotly would mark halves too, and round what they say.

    Gaps between lines are nan.
    """
    known = [float(place) for some in places for place in some]
    known = [place for place in known if math.isfinite(place)]
    return {"dtick": 1} if known and max(known) - min(known) <= FEW else {}


def _note(note: Any, chart: Chart) -> dict[str, Any]:
    return {
        "x": _number(math.log10(note.x) if chart.x.log else note.x),
        "y": _number(math.log10(note.y) if chart.y.log else note.y),
        "text": html.escape(note.text).replace("\n", "<br>"),
        "showarrow": False,
        "font": {"size": 11, "color": f"@{note.colour}"},
        **_SIDES[note.side],
    }


def _rule(rule: tuple[str, float, str]) -> dict[str, Any]:
    """A dotted line across the whole plot."""
    side, place, name = rule
    here = _number(place)
    other = "y" if side == "x" else "x"
    return {
        "type": "line",
        "layer": "below",
        f"{side}0": here,
        f"{side}1": here,
        f"{other}0": 0,
        f"{other}1": 1,
        f"{other}ref": f"{other} domain",
        "name": html.escape(name),
        "showlegend": bool(name),
        "line": {"color": "@ink", "width": 1.4, "dash": "dot"},
    }


def _numbers(values: Sequence[float]) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    """Seven digits: more than a screen shows. What is missing is null, as JSON wants it."""
    if value is None or value != value or math.isinf(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.7g}")
