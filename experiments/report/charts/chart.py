"""A figure as data: axes, marks, notes. What it shows is decided here, how it looks elsewhere."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

Numbers = Any  # a sequence, an array or a column of numbers
Side = Literal["above", "below", "right", "left", "middle"]
# across: bars that lie; heat: cells of side 1, coloured by values from 0 to 1
Kind = Literal["dots", "line", "steps", "bars", "across", "heat"]
Colour = Literal["ink", "grey", "blue", "orange", "green", "red", "purple", "sky", "paper"]
Rule = tuple[Literal["x", "y"], float, str]  # a dotted line: axis, place, name
Symbol = Literal["circle", "ring", "star", "cross", "tick", "square", "diamond"]
CYCLE: tuple[Colour, ...] = ("blue", "orange", "green", "purple", "sky", "red")


@dataclass(frozen=True)
class Axis:
    """One axis of a chart: its label, scale, limits and ticks."""

    label: str = ""  # with its unit
    log: bool = False
    limits: tuple[float, float] | None = None
    ticks: tuple[tuple[float, str], ...] | None = None  # (place, text)
    format: str = ""  # of figures: as .1%, .3s; both drawers know these
    whole: bool = False  # whole numbers only
    hidden: bool = False
    slanted: bool = False  # long names of ticks side by side


@dataclass(frozen=True)
class Marks:
    """One entry of the legend; without a name it has none.

    `low` and `high` are the ends of intervals along y, or along x for what lies `across`. `base`
    and `widths` are of bars. `values` colour the marks by a scale. `texts` say what one mark is,
    `numbers` which trials they are, so that they can be selected.
    """

    kind: Kind
    x: Numbers
    y: Numbers
    name: str = ""
    colour: Colour = "blue"
    symbol: Symbol | None = "circle"  # of dots; of a line: None for none
    size: float = 8
    width: float = 2
    dashed: bool = False
    opacity: float = 1
    low: Numbers | None = None
    high: Numbers | None = None
    across: bool = False
    base: Numbers | None = None
    widths: Numbers | None = None
    values: Numbers | None = None
    scale: str = ""  # what the colours mean
    texts: Sequence[str] | None = None
    numbers: Sequence[int] | None = None


@dataclass(frozen=True)
class Note:
    """Text at a point; `side` is where it lies from there."""

    x: float
    y: float
    text: str
    side: Side = "above"
    colour: Colour = "ink"


@dataclass(frozen=True)
class Chart:
    """One panel: axes, marks in the order in which they are drawn, notes and rules."""

    title: str
    x: Axis
    y: Axis
    marks: tuple[Marks, ...]
    notes: tuple[Note, ...] = ()
    rules: tuple[Rule, ...] = ()
    height: int = 420  # pixels on the page
    plain: bool = False  # no axes' lines, equal units: a drawing


@dataclass(frozen=True)
class Figure:
    """Panels side by side, and what is said of them.

    `alt` says what is on it, for those who do not see it; `caption` is for those who do.
    """

    panels: tuple[Chart, ...]
    alt: str
    caption: str


def readable_number(value: float, format: str) -> str:  # noqa: A002
    """As d3 writes it, of the formats that the charts use: `.3s` is 846k, 1.69M, 2.5G."""
    if not format.endswith("s"):
        text = f"{value:{format.replace('~', '') or 'g'}}"
        return re.sub(r"\.0+(?=%)", "", text) if "~%" in format else text
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


_STEPS = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
)

FEWEST = 8  # finished trials that are worth a scale of their own
COSTS = {  # cost -> what its axis is called
    "flops": "FLOPs (multiply-adds)",
    "params": "parameters",
    "activations": "activations (elements of convolution outputs)",
    "peak_ram": "bytes of RAM at the peak, as int8",
    "flash": "bytes of flash, as int8",
    "latency": "latency of a step, in seconds",
}


def focus(trials: pd.DataFrame, column: str, *, most: float) -> tuple[float, float]:
    """Limits that hold all finished trials, with room below for some of what lies under them.

    Where only a few finished, they hold the others too.
    """
    scored = trials[trials["state"].isin(["complete", "pruned"])].dropna(subset=[column])
    done = scored[scored["state"] == "complete"]
    values = done[column] if len(done) >= FEWEST else scored[column]
    low, high = float(values.min()), float(values.max())
    spread = max(high - low, 0.02)
    return max(0.0, low - 0.6 * spread), min(most, high + 0.15 * spread) + 0.03 * spread


def cost_axis(values: "pd.Series[float]", *others: float, cost: str = "flops") -> Axis:
    """A logarithmic axis over `values` of a cost and `others`."""
    low, high = (float(pick([*values, *others])) for pick in (min, max))
    margin = max((high / low) ** 0.06, 1.08)
    return log_axis(COSTS[cost], low / margin, high * margin, format=".3s")


def log_axis(label: str, low: float, high: float, *, format: str) -> Axis:  # noqa: A002
    """Ticks at round numbers, at least five where the range has so many."""
    powers = [10.0**p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)))]
    places: list[float] = []
    for steps in _STEPS:
        places = [power * step for power in powers for step in steps if low <= power * step <= high]
        if len(places) >= 5:
            break
    ticks = tuple((place, readable_number(place, format)) for place in places)
    return Axis(label, log=True, limits=(low, high), ticks=ticks, format=format)
