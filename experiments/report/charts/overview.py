"""The run in one chart: FLOPs against the metric of the search, the known networks, the family."""

import pandas as pd

from experiments.report.analysis.trials import pareto_front
from experiments.report.charts.chart import Axis, Chart, Colour, Figure, Marks, Symbol, cost_axis


def overview(
    trials: pd.DataFrame, members: pd.DataFrame, *, metric: str, winner: str | None
) -> Figure | None:
    """The metric of the validation part over FLOPs; None where no trial of the search has finished.

    `members` are the family's finished ones; `winner` is the contender that was confirmed.
    Trainings of one length share a colour, as only those compare.
    """
    done = trials[trials["state"] == "complete"].dropna(subset=["accuracy"])
    searched = done[done["study"] == "search"]
    if searched.empty:
        return None
    front = pareto_front(searched)
    marks = [
        _dots(searched, metric, f"search{_length(searched)}"),
        Marks("steps", front["flops"], front["accuracy"], "Pareto front", "green", None),
        *_repeated(done, metric, winner),
    ]
    shown = [searched, done[done["study"].isin(["confirmation", "known"])]]
    if len(members):
        ordered = members.sort_values("flops")
        texts = [
            f"{name}\n{metric} {value:.4f}"
            for name, value in zip(ordered["member"], ordered["accuracy"], strict=True)
        ]
        place = (ordered["flops"], ordered["accuracy"])
        name = f"family{_length(done[done['study'] == 'family'])}"
        marks.append(Marks("line", *place, name, "purple", "square", size=9, texts=texts))
        shown.append(ordered)
    every = pd.concat([part[["flops", "accuracy"]].astype("float64") for part in shown])
    low, high = float(every["accuracy"].min()), float(every["accuracy"].max())
    room = max(0.08 * (high - low), 0.005)
    chart = Chart(
        title=f"FLOPs against validation {metric}",
        x=cost_axis(every["flops"]),
        y=Axis(f"validation {metric}", limits=(max(0.0, low - room), high + room), format=".4~g"),
        marks=tuple(marks),
        height=420,
    )
    return Figure(
        (chart,),
        alt=f"FLOPs, logarithmic, against validation {metric}: the finished trials of the search "
        "with their Pareto front, the confirmed network and known networks with the range over "
        "their seeds, and the family as a line.",
        caption="Longer trainings reach more: compare points of one colour. An interval is from "
        "the lowest to the highest of a network's seeds; a point without one was trained once.",
    )


def _repeated(done: pd.DataFrame, metric: str, winner: str | None) -> list[Marks]:
    """The confirmed network and the known ones, in the last round of each."""
    marks = []
    kinds: tuple[tuple[str, str, Colour, Symbol], ...] = (
        ("known", "known networks", "orange", "diamond"),
        ("confirmation", "the baseline, trained again", "orange", "star"),
    )
    for study, name, colour, symbol in kinds:
        part = done[done["study"] == study]
        if study == "confirmation" and len(part):
            part = part[part["contender"] == winner]
        if part.empty:
            continue
        part = part[part["round"] == part.groupby("contender")["round"].transform("max")]
        by = part.groupby("contender", sort=False)
        means = by["accuracy"].mean()
        texts = [
            f"{contender}\nmean {metric} {mean:.4f} of {count} seeds"
            for contender, mean, count in zip(means.index, means, by.size(), strict=True)
        ]
        marks.append(
            Marks(
                "dots",
                by["flops"].last().to_numpy(dtype=float),
                means.to_numpy(dtype=float),
                name + _length(part),
                colour,
                symbol,
                size=14 if symbol == "star" else 10,
                low=by["accuracy"].min().to_numpy(dtype=float),
                high=by["accuracy"].max().to_numpy(dtype=float),
                texts=texts,
            )
        )
    return marks


def _length(trials: pd.DataFrame) -> str:
    """`, 9 epochs` of trials that were trained equally long; empty where none says how long."""
    epochs = trials["epochs"].dropna()
    if epochs.empty:
        return ""
    least, most = int(epochs.min()), int(epochs.max())
    return f", {most} epochs" if least == most else f", {least} to {most} epochs"


def _dots(trials: pd.DataFrame, metric: str, name: str) -> Marks:
    texts = [
        f"trial {number}\n{metric} {value:.4f}"
        for number, value in zip(trials["number"], trials["accuracy"], strict=True)
    ]
    place = (trials["flops"].to_numpy(dtype=float), trials["accuracy"].to_numpy(dtype=float))
    return Marks("dots", *place, name, size=6, opacity=0.6, texts=texts)
