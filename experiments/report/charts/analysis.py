"""What the analysis found: importance, the effect of each value, where the time went."""

import pandas as pd

from experiments.report.charts.chart import Axis, Chart, Colour, Figure, Marks

PARAMETERS = 12  # in the figure of importance
CHOICES = 7  # in the figure of effects
FEWEST = 4  # trials whose interval the axis holds whole


def importance(table: pd.DataFrame, *, metric: str) -> Figure:
    """Bars of each parameter's importance for the reward and for the metric, called so."""
    kinds: tuple[tuple[str, str, Colour, float], ...] = (
        ("reward", "reward", "blue", 0.2),
        ("accuracy", metric, "orange", -0.2),
    )
    names = list(dict.fromkeys(table[table["of"] == "reward"]["parameter"]))[:PARAMETERS][::-1]
    place = {name: float(i) for i, name in enumerate(names)}
    marks = []
    for of, called, colour, shift in kinds:
        part = table[(table["of"] == of) & table["parameter"].isin(names)]
        y = [place[name] + shift for name in part["parameter"]]
        share = part["importance"].to_numpy(dtype=float)
        texts = [
            f"{readable_choice(n)}\n{called}: {v:.1%}"
            for n, v in zip(part["parameter"], share, strict=True)
        ]
        widths = [0.36] * len(y)
        name = f"of the {called}"
        marks.append(Marks("across", share, y, name, colour, widths=widths, texts=texts))
    top = float(table["importance"].max())
    first = table.iloc[0]
    chart = Chart(
        title="Search: importance of the parameters",
        x=Axis("variance explained", limits=(0.0, 1.05 * top), format=".1~%"),
        y=Axis(
            limits=(-0.6, len(names) - 0.4),
            ticks=tuple((place[name], readable_choice(name)) for name in names),
        ),
        marks=tuple(marks),
        height=110 + 30 * len(names),
    )
    return Figure(
        (chart,),
        alt=f"Bar chart: importance of the most important parameters, for reward and for {metric}.",
        caption=f"fANOVA (Hutter et al. 2014) over {first['trials']} trials as they stood after "
        f"epoch {first['epoch']}, the latest that half of them reached. What matters for the "
        f"reward alone matters through its cost. Few trials make this a rough guess.",
    )


def effects(table: pd.DataFrame, *, overall: float, order: list[str]) -> Figure:
    """The mean reward of each value of the leading choices, with its 95 % interval."""
    leading = [name for name in order if name in set(table["choice"])][:CHOICES]
    rows = pd.concat([table[table["choice"] == name] for name in leading])
    ticks, ys, at = [], [], 0.0
    before = None
    for row in rows.itertuples():
        at -= 1.0 if before in (None, row.choice) else 1.7
        before = row.choice
        ys.append(at)
        ticks.append((at, f"{readable_choice(str(row.choice))} = {row.value}  ({row.trials})"))
    texts = [
        f"{readable_choice(str(r.choice))} = {r.value}\n"
        f"{r.trials} trials, mean reward {r.mean:.4f}\n"
        f"95 % interval {r.low:.4f} to {r.high:.4f}"
        for r in rows.itertuples()
    ]
    marks = Marks(
        "dots",
        rows["mean"].to_numpy(),
        ys,
        name="mean with its 95 % interval",
        low=rows["low"].to_numpy(),
        high=rows["high"].to_numpy(),
        across=True,
        size=10,
        texts=texts,
    )
    chart = Chart(
        title="Search: marginal effects",
        x=Axis("reward", format=".4~g", limits=_room(rows, overall)),
        y=Axis(limits=(at - 1, 0.0), ticks=tuple(ticks)),
        marks=(marks,),
        rules=(("x", overall, "mean of all"),),
        height=120 + 24 * len(rows),
    )
    return Figure(
        (chart,),
        alt="Dot plot: mean reward of each value of the leading choices, with intervals, beside "
        "the mean of all trials.",
        caption="Trials in parentheses, as they stood after the same epoch. The search tries good "
        "values together, so a value's mean also holds what it went with: a hint, not a cause. "
        "Of a single trial there is no interval. Stages are numbered as in the baseline's table.",
    )


def readable_choice(name: str) -> str:
    """`stages.1.block.kernel_size` -> `stage 1 kernel size`."""
    parts = name.split(".")
    if parts[0] == "stages":
        parts = [f"stage {parts[1]}", *(p for p in parts[2:] if p != "block")]
    return " ".join(parts).replace("_", " ")


def _room(rows: pd.DataFrame, overall: float) -> tuple[float, float]:
    """All means, and the intervals as far as they say anything: those of two or three do not."""
    told = rows[rows["trials"] >= FEWEST]
    ends = [overall, *rows["mean"], *told["low"].dropna(), *told["high"].dropna()]
    margin = 0.06 * (max(ends) - min(ends)) or 0.01
    return min(ends) - margin, max(ends) + margin


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
