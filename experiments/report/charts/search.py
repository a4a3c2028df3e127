"""The search: cost against the metric over lines of equal reward, and reward in time."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from experiments.config.search_section import SearchSection
from experiments.config.units import NAMES, readable_bytes, readable_cost
from experiments.report.analysis.trials import pareto_front
from experiments.report.charts.chart import (
    COSTS,
    Axis,
    Chart,
    Colour,
    Figure,
    Marks,
    Note,
    Side,
    Symbol,
    cost_axis,
    focus,
)
from scaler.budget import ON_A_DEVICE

CURVES = 150  # curves drawn of each outcome; more would not be told apart
_OUTCOMES: tuple[tuple[str, str, Colour], ...] = (
    ("pruned", "stopped early", "grey"),
    ("complete", "finished", "blue"),
)
MOST = 1_000  # dots drawn of each outcome; more would hide each other and make the page slow


def flops_accuracy(
    trials: pd.DataFrame,
    *,
    section: SearchSection,
    metric: str,
    baseline: str | None = None,
    front: pd.DataFrame | None = None,
) -> Figure:
    """The objective's cost against the metric; `trials` are those of the search that have one.

    `metric` is what people call it. `baseline` is the key of the network that the confirmation
    chose, if it is not the best; `front` is the table of a search with several targets.
    """
    cost = section.cost
    done = trials[trials["state"] == "complete"].sort_values("number")
    stopped = trials[trials["state"] == "pruned"]
    x = cost_axis(trials[cost], *section.budgets, cost=cost)
    low, high = focus(trials, "accuracy", most=1.0)
    if front is not None:
        low, high = min(low, front["accuracy_low"].min()), max(high, front["accuracy_high"].max())
    y = Axis(f"validation {metric}", limits=(low, high), format=".4~g")
    lines, notes = _equal_reward(section, x, y)
    told = [readable_cost(cost, target) for target in section.budgets]
    named = told if len(told) > 1 else [f"target T = {told[0]}"]
    chart = Chart(
        title=f"Search: {metric} against {NAMES[cost]}",
        x=x,
        y=y,
        marks=(*lines, *_trials(done, stopped, x=cost, y="accuracy", low=low), *_front(done, x)),
        notes=tuple(notes),
        rules=tuple(("x", t, name) for t, name in zip(section.budgets, named, strict=True)),
        height=520,
    )
    if front is not None:
        chart = Chart(**{**vars(chart), "marks": (*chart.marks, *_confirmed(front, metric))})
    elif len(done):
        best = done.sort_values(["reward", "number"], ascending=[False, True]).iloc[0]
        name = f"best: reward {best['reward']:.3f}"
        marks = [_one(best, cost, metric, name, symbol="star", size=17)]
        chosen = done[done["key"] == baseline]
        if len(chosen) and baseline != best["key"]:
            name = "confirmed as the baseline"
            marks.append(_one(chosen.iloc[0], cost, metric, name, symbol="ring", size=16))
        chart = Chart(**{**vars(chart), "marks": (*chart.marks, *marks)})
    return Figure(
        (chart,),
        alt=f"Scatter plot of the search's trials: {COSTS[cost]}, logarithmic, against validation "
        f"{metric}, with the Pareto front as a step line and the best trial as a star.",
        caption="Along a thin grey line the reward is equal, its value at the line's end; up and "
        "to the left is better. Trials stopped early have the value of their last epoch."
        + ("" if front is None else _CONFIRMED)
        + _told(done, stopped),
    )


def limits_accuracy(
    trials: pd.DataFrame, *, section: SearchSection, metric: str, baseline: str | None
) -> Figure | None:
    """RAM and flash against the metric, a panel each, where the search is limited by them.

    `trials` are those of the search that have a metric; `baseline` is the chosen network's key.
    """
    panels = []
    for cost in ON_A_DEVICE:
        limit = float(getattr(section, f"max_{cost}"))
        known = trials.dropna(subset=[cost]) if cost in trials else trials[:0]
        if math.isinf(limit) or known.empty:
            continue
        done = known[known["state"] == "complete"].sort_values("number")
        stopped = known[known["state"] == "pruned"]
        x = cost_axis(known[cost].astype(float), limit, cost=cost)
        low, high = focus(known, "accuracy", most=1.0)
        marks = [*_trials(done, stopped, x=cost, y="accuracy", low=low), *_front(done, x)]
        for _, chosen in done[done["key"] == baseline][:1].iterrows():
            marks.append(_one(chosen, cost, metric, "the baseline", symbol="star", size=17))
        panels.append(
            Chart(
                title=f"Search: {metric} against {NAMES[cost]}",
                x=x,
                y=Axis(f"validation {metric}", limits=(low, high), format=".4~g"),
                marks=tuple(marks),
                rules=(("x", limit, f"limit: {readable_bytes(limit)}"),),
            )
        )
    if not panels:
        return None
    return Figure(
        tuple(panels),
        alt=f"Scatter plots of the search's trials: bytes of RAM or flash, logarithmic, against "
        f"validation {metric}, with the limit as a dotted line.",
        caption="Nothing right of the dotted line was trained: it would not fit.",
    )


_CONFIRMED = (
    " A diamond is the mean of a network that was trained again, the bar from its least to its "
    "highest training, an orange one is named for a target (dotted lines). Those trainings may be "
    "longer or shorter than the search's."
)


def _confirmed(front: pd.DataFrame, metric: str) -> list[Marks]:
    """The confirmed networks with their noise: those named for a target, and the others."""
    marks = []
    targets = front["target"].notna()
    colours: tuple[tuple[Any, str, Colour], ...] = (
        (~targets, "confirmed", "purple"),
        (targets, "confirmed, named for a target", "orange"),
    )
    for which, name, colour in colours:
        part = front[which].drop_duplicates("contender")
        told = zip(part["contender"], part["accuracy"], part["seeds"], strict=True)
        mark = Marks(
            "dots",
            part["cost"].to_numpy(dtype=float),
            part["accuracy"].to_numpy(dtype=float),
            name,
            colour,
            "diamond",
            size=11,
            low=part["accuracy_low"].to_numpy(dtype=float),
            high=part["accuracy_high"].to_numpy(dtype=float),
            texts=[f"{who}\n{metric} {mean:.4f}, n = {seeds}" for who, mean, seeds in told],
        )
        marks += [mark] if len(part) else []
    return marks


def history(searched: pd.DataFrame) -> Figure:
    """The reward of each trial in the order in which they ended, and the best so far."""
    done = searched[searched["state"] == "complete"].sort_values("number")
    stopped = searched[searched["state"] == "pruned"]
    failed = searched[searched["state"] == "fail"]
    last = int(searched["number"].max())
    margin = max(0.5, 0.02 * last)
    low, high = focus(searched, "reward", most=np.inf)
    marks = _trials(done, stopped, x="number", y="reward", low=low)
    if len(done):
        x = [*done["number"].astype(float), float(last)]
        best = [*done["reward"].cummax(), done["reward"].max()]
        marks.append(Marks("steps", x, best, name="best so far", colour="orange", width=2.5))
    if len(failed):
        reasons = [
            f"trial {n}\n{r}" for n, r in zip(failed["number"], failed["reason"], strict=True)
        ]
        at = [low + 0.05 * (high - low)] * len(failed)
        name = f"failed ({len(failed)})"
        marks.append(
            Marks("dots", failed["number"], at, name, "red", "cross", size=9, texts=reasons)
        )
    chart = Chart(
        title="Search: reward by trial",
        x=Axis(
            "trial, in the order in which they ended", limits=(-margin, last + margin), whole=True
        ),
        y=Axis("reward", limits=(low, high), format=".4~g"),
        marks=tuple(marks),
    )
    return Figure(
        (chart,),
        alt="The reward of each trial of the search in order, and the best so far as a line.",
        caption="Only finished trials can be the best so far." + _told(done, stopped),
    )


def _one(
    trial: "pd.Series[Any]", cost: str, metric: str, name: str, *, symbol: Symbol, size: float
) -> Marks:
    return Marks(
        "dots",
        [float(trial[cost])],
        [float(trial["accuracy"])],
        name,
        "orange",
        symbol,
        size,
        texts=[f"trial {trial['number']}\n{name}\n{metric} {trial['accuracy']:.4f}"],
        numbers=[int(trial["number"])],
    )


def _trials(
    done: pd.DataFrame, stopped: pd.DataFrame, *, x: str, y: str, low: float
) -> list[Marks]:
    """The trials; what was stopped early far below the others is a tick on the lower edge."""
    under, shown = stopped[stopped[y] < low], stopped[stopped[y] >= low]
    marks = []
    if len(shown):
        name = f"stopped early ({len(shown)})"
        marks.append(_dots(shown, x, y, name, colour="grey", size=6))
    if len(under):
        name = f"stopped early, further below ({len(under)})"
        edge = under.assign(**{y: low})
        marks.append(_dots(edge, x, y, name, colour="grey", size=11, symbol="tick"))
    if len(done):
        size = 9 if len(done) < 100 else 6
        marks.append(_dots(done, x, y, f"finished ({len(done)})", colour="blue", size=size))
    return marks


def _told(done: pd.DataFrame, stopped: pd.DataFrame) -> str:
    drawn = min(len(done), MOST) + min(len(stopped), MOST)
    every = len(done) + len(stopped)
    return (
        "" if drawn == every else f" Of {every:,} trials {drawn:,} are drawn, the best among them."
    )


def _thinned(trials: pd.DataFrame) -> pd.DataFrame:
    """Of more than `MOST` the best fifth of so many, and the others evenly."""
    if len(trials) <= MOST:
        return trials
    ranked = trials.sort_values("reward", ascending=False, kind="stable")
    best, rest = ranked.iloc[: MOST // 5], ranked.iloc[MOST // 5 :].sort_values("number")
    every = np.linspace(0, len(rest) - 1, MOST - len(best)).astype(int)
    return pd.concat([best, rest.iloc[every]]).sort_values("number")


def _dots(
    trials: pd.DataFrame,
    x: str,
    y: str,
    name: str,
    *,
    colour: Colour,
    size: float,
    symbol: Symbol = "circle",
) -> Marks:
    trials = _thinned(trials)
    xs, ys = (trials[column].to_numpy(dtype=float) for column in (x, y))
    numbers = [int(number) for number in trials["number"]]
    return Marks("dots", xs, ys, name, colour, symbol, size, numbers=numbers)


def _front(done: pd.DataFrame, x: Axis) -> Iterator[Marks]:
    if done.empty or x.limits is None:
        return
    cost = next(name for name, label in COSTS.items() if label == x.label)
    front = pareto_front(done, cost=cost)
    xs = [*front[cost].astype(float), x.limits[1]]
    ys = [*front["accuracy"], front["accuracy"].iloc[-1]]
    yield Marks("steps", xs, ys, name="Pareto front", colour="green")


def _equal_reward(section: SearchSection, x: Axis, y: Axis) -> tuple[list[Marks], list[Note]]:
    """ACC = reward * (COST/T)^-w for round rewards, each written where its curve leaves."""
    assert x.limits is not None
    assert y.limits is not None
    low, high = y.limits
    costs = np.geomspace(*x.limits, 120)
    factor = (costs / section.known_target) ** section.known_exponent
    corners = [accuracy * end for accuracy in (low, high) for end in (factor[0], factor[-1])]
    lines: list[Marks] = []
    notes: list[Note] = []
    for level in MaxNLocator(nbins=8).tick_values(min(corners), max(corners)):
        curve = level / factor
        inside = np.flatnonzero((curve >= low) & (curve <= high))
        if len(inside) < 2:
            continue
        name = "" if lines else "equal reward"  # one entry in the legend
        place = (costs[inside], curve[inside])
        lines.append(Marks("line", *place, name, "grey", None, width=1, opacity=0.6))
        end = inside[-1]
        side: Side = "right"
        if end < len(costs) - 1:  # through the upper or lower edge, not the right one
            side = "above" if curve[end] > (low + high) / 2 else "below"
        notes.append(Note(costs[end], curve[end], f"{level:.4g}", side, "grey"))
    return lines, notes


def learning_curves(trials: pd.DataFrame, curves: pd.DataFrame, *, metric: str) -> Figure:
    """The validation part's metric by epoch, a line a trial, those stopped early in grey."""
    told = curves[curves["metric"] == "accuracy"]
    by_trial = {int(str(n)): part for n, part in told.groupby("number")}
    done = trials[trials["state"] == "complete"].sort_values("reward", ascending=False)
    marks, left_out = [], 0
    for state, name, colour in _OUTCOMES:
        part = trials[trials["state"] == state]["number"]
        numbers = [int(n) for n in part if int(n) in by_trial]
        every = np.linspace(0, len(numbers) - 1, min(CURVES, len(numbers))).astype(int)
        kept = [numbers[i] for i in every]
        left_out += len(numbers) - len(kept)
        if kept:
            label = f"{name} ({len(numbers)})"
            marks.append(_lines([by_trial[n] for n in kept], label, colour))
    if len(done) and int(done.iloc[0]["number"]) in by_trial:
        best = int(done.iloc[0]["number"])
        marks.append(_lines([by_trial[best]], f"best: trial {best}", "orange", width=3.5))
    thinned = f" {left_out} curves are left out, evenly." if left_out else ""
    chart = Chart(
        title="Search: learning curves",
        x=Axis("epoch", whole=True),
        y=Axis(f"validation {metric}", format=".4~g"),
        marks=tuple(marks),
    )
    return Figure(
        (chart,),
        alt=f"Line plot of the search's trials: validation {metric} by epoch; those stopped early "
        "are grey, finished ones blue, the best orange.",
        caption=f"Grey curves end where early stopping ended them.{thinned}",
    )


def _lines(parts: list[pd.DataFrame], name: str, colour: Colour, *, width: float = 1.3) -> Marks:
    """Several curves as one entry, parted by gaps."""
    xs, ys = [], []
    for part in parts:
        xs += [*part["epoch"].astype(float), np.nan]
        ys += [*part["value"], np.nan]
    opacity = 1.0 if len(parts) < 10 else 0.55
    return Marks("line", xs, ys, name, colour, size=5, width=width, opacity=opacity)
