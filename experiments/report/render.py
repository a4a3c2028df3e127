"""HTML from templates: self-contained, in light and dark, loading nothing from anywhere."""

import base64
import json
import struct
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments.config.plot_style import DARK, LIGHT
from experiments.report.cells import alignments, heads, readable_rows
from experiments.report.charts.chart import Figure
from experiments.report.charts.interactive import to_plotly

_FOLDER = Path(__file__).parent / "templates"
_MORE = {  # colours of the page alone
    "light": {"band": "#f3f5f7", "mark": "#fdf0d8"},
    "dark": {"band": "#1e2329", "mark": "#3b2f17"},
}


class ShownTable(NamedTuple):
    """A table as the page shows it."""

    heads: list[str]
    sides: list[str]
    rows: list[list[str]]


class Panel(NamedTuple):
    """Where the page's script draws one chart."""

    id: str
    title: str
    height: int  # pixels


class Picture(NamedTuple):
    """A figure as the page shows it: its panels, and the PNG for print."""

    panels: list[Panel]
    data: str  # PNG, base64, for print and for browsers without scripts
    width: int  # pixels
    height: int
    alt: str
    caption: str


def render(template: str, *, charts: dict[str, Figure], data: dict[str, Any], **values: Any) -> str:
    """A page of `template`; `data` is for its script, beside the `charts`."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plots = {
        f"{name}-{i}": to_plotly(panel)
        for name, figure in charts.items()
        for i, panel in enumerate(figure.panels)
    }
    return environment.get_template(template).render(
        style=_style(),
        script=Markup(_text("page.js")),
        plotly=Markup(_plotly()),
        data=Markup(_json({**data, "charts": plots})),
        **values,
    )


def shown(table: pd.DataFrame, metric: str = "accuracy") -> ShownTable:
    """The table's heads and cells as people read them; `metric` is what `accuracy` holds."""
    return ShownTable(heads(table, metric), alignments(table), readable_rows(table))


def pictures(charts: dict[str, Figure], drawn: dict[str, dict[str, bytes]]) -> dict[str, Picture]:
    """Each figure by its name; `drawn` is what `draw_figures` gives of the same charts."""
    return {name: _picture(name, figure, drawn[name]["png"]) for name, figure in charts.items()}


def _picture(name: str, figure: Figure, png: bytes) -> Picture:
    width, height = struct.unpack(">II", png[16:24])  # of the header chunk
    panels = [Panel(f"{name}-{i}", p.title, p.height) for i, p in enumerate(figure.panels)]
    data = base64.b64encode(png).decode()
    return Picture(panels, data, width, height, figure.alt, figure.caption)


def _json(data: dict[str, Any]) -> str:
    """Within a script element no < may stand, whatever a run's names hold."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


@cache
def _plotly() -> str:
    """The library, once in a page; plotly's Python package brings it along."""
    text = resources.files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")
    return text.replace("</script", "<\\/script")


@cache
def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _style() -> Markup:
    text = _text("page.css")
    for scheme, colours in (("light", LIGHT), ("dark", DARK)):
        roles = {**colours, **_MORE[scheme]}
        rules = " ".join(f"--{role}: {colour};" for role, colour in roles.items())
        text = text.replace(f"{{{{ {scheme} }}}}", rules)
    return Markup(text)
