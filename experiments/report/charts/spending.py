"""Where the time went, and how soon it paid."""

import pandas as pd

from experiments.report.charts.chart import Axis, Chart, Colour, Figure, Marks

_STATES: tuple[tuple[str, str, Colour], ...] = (
    ("complete", "finished", "blue"),
    ("pruned", "stopped early", "grey"),
    ("fail", "failed", "red"),
)


def costs(table: pd.DataFrame, regret: pd.DataFrame) -> Figure:
    """Trials' seconds by study and outcome; the search's regret in time, where it has one."""
    studies = list(dict.fromkeys(table["study"].astype(str)))[::-1]
    unit, size = _unit(float(table.groupby("study", observed=True)["seconds"].sum().max()))
    marks, base = [], dict.fromkeys(studies, 0.0)
    for state, name, colour in _STATES:
        part = table[table["state"] == state]
        if part.empty:
            continue
        names = [str(study) for study in part["study"]]
        spent = [float(s) / size for s in part["seconds"]]
        texts = [
            f"{study}: {trials} {name}\n{seconds:,.0f} s, {share:.1%} of the run's"
            for study, trials, seconds, share in zip(
                names, part["trials"], part["seconds"], part["share"], strict=True
            )
        ]
        starts = [base[study] for study in names]
        at = [float(studies.index(study)) for study in names]
        marks.append(
            Marks(
                "across", spent, at, name, colour, base=starts, widths=[0.6] * len(at), texts=texts
            )
        )
        for study, more in zip(names, spent, strict=True):
            base[study] += more
    ticks = tuple((float(i), study) for i, study in enumerate(studies))
    y = Axis(limits=(-0.6, len(studies) - 0.4), ticks=ticks)
    title = "Time of trials by outcome"
    panels = [Chart(title, Axis(f"trials' own time ({unit})"), y, tuple(marks), height=360)]
    if len(regret) > 1:
        panels.append(_regret(regret))
    return Figure(
        tuple(panels),
        alt="Bar chart of the trials' time by study and outcome; line plot of the search's regret, "
        "how far the best so far lies below the final best, in time.",
        caption="A trial's own time: with several at once the run took less. Regret is the final "
        "best reward less the best so far; where it reaches 0 early, fewer trials would have done.",
    )


def _regret(regret: pd.DataFrame) -> Chart:
    seconds = regret["elapsed"].dt.total_seconds()
    unit, size = _unit(float(seconds.max()))
    x, y = (seconds / size).to_numpy(), regret["regret"].to_numpy(dtype=float)
    axis = Axis("regret (reward)", limits=(-0.03 * max(y.max(), 1e-4), 1.08 * max(y.max(), 1e-4)))
    line = Marks("steps", x, y, colour="orange", width=2.5)
    since = Axis(f"since the search began ({unit})", limits=(0.0, 1.03 * float(x.max())))
    return Chart("Search: regret in time", since, axis, (line,), height=360)


def _unit(seconds: float) -> tuple[str, float]:
    if seconds < 180:
        return "s", 1.0
    return ("min", 60.0) if seconds < 3 * 3600 else ("h", 3600.0)
