"""The tables of what was trained repeatedly: the confirmation, the coefficients."""

import math
from typing import Any

import pandas as pd

from experiments.config.search_section import SearchSection
from experiments.config.units import readable_cost
from experiments.steps.known import budget_of, budget_text
from experiments.steps.noise import Repeat, Standing, difference, standings

_CONFIRMATION = (
    "rank contender round epochs seeds reward reward_spread accuracy accuracy_spread search_reward "
    "flops params behind p"
)
_COEFFICIENTS = (
    "rank alpha beta gamma growth seeds accuracy spread first_accuracy flops params "
    "reached_depth reached_width resolution seconds state"
)
NEAR = 0.1  # of the budget: a network so near to it is said to have the same cost
_DROPPED = "alpha beta gamma reason"


def confirmation_table(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a finalist, the winner first: means and deviations of the last round it reached.

    search_reward is what its one training in the search had. The known networks come last, without
    a rank: `behind` is how far their mean accuracy lies below the winner's, `p` is of Welch's test.
    """
    ranked, known = confirmation_standings(trials), known_standings(trials)
    rows = []
    for rank, standing in enumerate(ranked, start=1):
        rows.append({"rank": rank, **_confirmed(trials, "confirmation", standing)})
    for standing in known:
        gap = difference(*(_accuracies(trials, *one) for one in _pair(ranked[0], standing)))
        compared = {"behind": gap.value, "p": gap.p} if standing.round == ranked[0].round else {}
        rows.append({**_confirmed(trials, "known", standing), "rank": None, **compared})
    return _frame(rows, _CONFIRMATION)


def _confirmed(trials: pd.DataFrame, study: str, standing: Standing) -> dict[str, Any]:
    own = trainings(trials, study, standing)
    first = own.iloc[0]
    return {
        "contender": standing.contender,
        "seeds": len(standing.values),
        "round": standing.round,
        "epochs": first["epochs"],
        "reward": standing.mean,
        "reward_spread": standing.spread,
        "accuracy": own["accuracy"].mean(),
        "accuracy_spread": own["accuracy"].std(),
        **{name: first[name] for name in ("search_reward", "flops", "params")},
    }


def known_standings(trials: pd.DataFrame) -> list[Standing]:
    """The known networks, best first; none where no confirmation stands beside them.

    Of each those trainings count that have the network trained last: where the budget is the
    winner's own, another winner has others.
    """
    known = trials[trials["study"] == "known"]
    if known.empty or not confirmation_standings(trials):
        return []
    latest = known.sort_values("number").groupby("contender")["key"].transform("last")
    return _standings(known[known["key"] == latest], "reward")


def _pair(winner: Standing, known: Standing) -> list[tuple[str, Standing]]:
    return [("confirmation", winner), ("known", known)]


def _accuracies(trials: pd.DataFrame, study: str, standing: Standing) -> list[float]:
    return [float(value) for value in trainings(trials, study, standing)["accuracy"]]


def worth_text(trials: pd.DataFrame, section: SearchSection) -> str:
    """Whether the found network is better than the best known one; empty where none was trained."""
    ranked, known = confirmation_standings(trials), known_standings(trials)
    if not known:
        return ""
    winner = ranked[0]
    best = max(known, key=lambda one: sum(_accuracies(trials, "known", one)) / len(one.values))
    gap = difference(*(_accuracies(trials, *one) for one in _pair(winner, best)))
    flops = int(trainings(trials, "confirmation", winner).iloc[0]["flops"])
    target, cost = budget_of(section, flops=flops)
    has = float(trainings(trials, "confirmation", winner).iloc[0][cost])
    same = abs(has / target - 1) <= NEAR
    found = "the found network" if same else f"the found network ({readable_cost(cost, has)})"
    points = f"{abs(gap.value) * 100:.1f} points {'ahead of' if gap.value >= 0 else 'behind'}"
    if math.isnan(gap.p):
        sure = "too few or too equal trainings to tell it from noise"
    else:
        sure = f"{'' if gap.beyond_noise else 'not '}beyond noise (p = {gap.p:.2g})"
    the_same = "the same " if same else ""
    return (
        f"{found} is {points} {best.contender} scaled to "
        f"{the_same}{budget_text(section, flops=flops)}, {sure}"
    )


def confirmation_standings(trials: pd.DataFrame) -> list[Standing]:
    """The finalists, best first."""
    finalists = trials[trials["study"] == "confirmation"]
    return _standings(finalists, "reward") if len(finalists) else []


def coefficients_standings(grid: pd.DataFrame) -> list[Standing]:
    """The directions, best first; `grid` is the trials of one baseline."""
    return _standings(_named(grid), "accuracy")


def coefficients_table(grid: pd.DataFrame) -> pd.DataFrame:
    """A row a direction, the chosen one first: the leaders by mean, the others by their one.

    `grid` is the trials of one baseline. first_accuracy is of the training that all had, which
    chose the leaders. growth is alpha * beta^2 * gamma^2. Directions of which no training finished
    come last, without a rank.
    """
    grid = _named(grid)
    ranked = _standings(grid, "accuracy")
    rows = []
    for rank, standing in enumerate(ranked, start=1):
        own = trainings(grid, "coefficients", standing)
        screened = _finished(grid)
        screened = screened[
            (screened["contender"] == standing.contender) & (screened["round"] == 1)
        ]
        rows.append(
            {
                **_direction(own.iloc[0]),
                **_shared(standing, rank),
                "accuracy": standing.mean,
                "spread": standing.spread,
                "first_accuracy": screened["accuracy"].mean(),
                "seconds": own["seconds"].mean(),
                "state": "complete",
            }
        )
    named = {standing.contender for standing in ranked}
    others = grid[~grid["contender"].isin(named)].drop_duplicates("contender", keep="last")
    for _, trial in others.iterrows():
        rows.append({**_direction(trial), "seconds": trial["seconds"], "state": trial["state"]})
    return _frame(rows, _COEFFICIENTS)


def dropped_table(notes: dict[str, Any], *, baseline: str | None) -> pd.DataFrame:
    """The directions that were not trained, and why."""
    dropped = notes.get("dropped", {})
    rows = dropped.get("directions", []) if dropped.get("baseline") == baseline else []
    return _frame(rows, _DROPPED)


def _named(grid: pd.DataFrame) -> pd.DataFrame:
    """Runs of older versions named no contender: there each direction was trained once."""
    names = [
        f"alpha {alpha:g} beta {beta:g} gamma {gamma:g}"
        for alpha, beta, gamma in zip(grid["alpha"], grid["beta"], grid["gamma"], strict=True)
    ]
    old = pd.Series(names, index=grid.index, dtype="string")
    named = grid["contender"].replace("", pd.NA).fillna(old)
    return grid.assign(contender=named, round=grid["round"].fillna(1))


def _standings(trials: pd.DataFrame, value: str) -> list[Standing]:
    done = _finished(trials)
    named = zip(done["contender"], done["round"], done[value], strict=True)
    return standings(Repeat(str(name), int(number), float(v)) for name, number, v in named)


def _finished(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[trials["state"] == "complete"].sort_values("number")


def trainings(trials: pd.DataFrame, study: str, standing: Standing) -> pd.DataFrame:
    """The trials that a standing is made of."""
    done = _finished(trials[trials["study"] == study])
    return done[(done["contender"] == standing.contender) & (done["round"] == standing.round)]


def _shared(standing: Standing, rank: int) -> dict[str, Any]:
    return {"rank": rank, "contender": standing.contender, "seeds": len(standing.values)}


def _direction(trial: "pd.Series[Any]") -> dict[str, Any]:
    alpha, beta, gamma = (float(trial[name]) for name in ("alpha", "beta", "gamma"))
    names = ("alpha", "beta", "gamma", "flops", "params", "reached_depth", "reached_width")
    own = {name: trial[name] for name in (*names, "resolution")}
    return {**own, "growth": alpha * beta**2 * gamma**2}


_WHOLE = {"rank", "round", "epochs", "seeds", "flops", "params", "resolution"}
_TEXT = {"contender", "state", "reason"}


def _frame(rows: list[dict[str, Any]], names: str) -> pd.DataFrame:
    columns = {}
    for name in names.split():
        kind = "Int64" if name in _WHOLE else "string" if name in _TEXT else "float64"
        values = [row.get(name) for row in rows]
        values = [None if value is pd.NA else value for value in values]
        columns[name] = pd.Series(values, dtype=kind)
    return pd.DataFrame(columns, index=range(len(rows)))
