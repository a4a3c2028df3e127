"""One network a budget: which network is named for each target, and the front of the confirmed."""

import pandas as pd

from experiments.config.search_section import SearchSection
from experiments.config.units import readable_cost
from experiments.engine.budgets import SLACK, TARGET, file_suffix, main_target
from experiments.report.analysis.trials import pareto_front
from experiments.report.repeats import confirmation_standings, trainings

FRONT = (
    "target contender pareto baseline flops params accuracy standard_error accuracy_low "
    "accuracy_high seeds epochs reward cost"
)
_TYPES = {
    **dict.fromkeys(FRONT.split(), "float64"),
    **dict.fromkeys(("contender", "baseline", "key"), "string"),
    **dict.fromkeys(("flops", "params", "seeds", "epochs"), "Int64"),
    "pareto": "boolean",
}


def for_target(trials: pd.DataFrame, section: SearchSection, target: float) -> pd.DataFrame:
    """Without those of the search and its confirmation that do not count for the target."""
    if len(section.budgets) == 1 or TARGET not in trials:
        return trials
    if section.at == "budget":
        counts = trials[TARGET] == target
    else:
        counts = trials["cost"].fillna(trials[section.cost].astype("float64")) <= SLACK * target
    return trials[counts.fillna(False) | ~trials["study"].isin(["search", "confirmation"])]


def for_main_target(trials: pd.DataFrame, section: SearchSection) -> pd.DataFrame:
    """Those that count for the target whose network is the baseline."""
    if len(section.budgets) == 1:
        return trials
    named = [t for t in section.budgets if _best(for_target(trials, section, t)) is not None]
    return for_target(trials, section, main_target(section, named)) if named else trials


def front_table(trials: pd.DataFrame, section: SearchSection) -> pd.DataFrame:
    """A row a target with the network named for it; then the others that were confirmed as long.

    Empty where the search has one target. Accuracy is the mean of the `seeds` trainings of the last
    round, with its standard error, the least and the highest; without a confirmation that of the
    one training. `pareto`: no network that was trained as long costs as little or less and has a
    higher mean. `baseline` is the network's file in the run folder.
    """
    if "cost" in trials and section.cost in trials:  # told results have no price of their own
        trials = trials.assign(cost=trials["cost"].fillna(trials[section.cost].astype("float64")))
    named = {}
    for target in section.budgets if len(section.budgets) > 1 else ():
        if (best := _best(for_target(trials, section, target))) is not None:
            named[target] = best
    rows: list[dict[str, object]] = []
    for target, best in named.items():
        suffix = file_suffix(section, target, main=main_target(section, named))
        rows.append({**_row(best), TARGET: target, "baseline": f"baseline{suffix}.yaml"})
    ranked = confirmation_standings(trials) if rows else []
    known = {row["contender"] for row in rows}
    for one in ranked:
        if one.round == ranked[0].round and one.contender not in known:
            rows.append(_row(trainings(trials, "confirmation", one)))
    names = [*FRONT.split(), "key"]
    columns = {name: pd.Series([r.get(name) for r in rows], dtype=_TYPES[name]) for name in names}
    table = pd.DataFrame(columns, index=range(len(rows)))
    longest = table[table["epochs"] == table["epochs"].max()]
    front = pareto_front(longest.drop_duplicates("contender"), cost="cost")["contender"]
    table["pareto"] = table["contender"].isin(front).astype("boolean")
    return table.sort_values([TARGET, "cost"], kind="stable", ignore_index=True)


def front_text(
    table: pd.DataFrame, section: SearchSection, *, metric: str = "accuracy"
) -> list[str]:
    """A sentence a target; `metric` is what people call what was measured."""
    told: list[str] = []
    seen: dict[str, str] = {}
    for _, row in table.dropna(subset=[TARGET]).iterrows():
        budget, has = (readable_cost(section.cost, row[name]) for name in (TARGET, "cost"))
        sure = f"{row['accuracy']:.2%}"
        if row["seeds"] > 1:
            sure += f" ± {row['standard_error']:.2%} (standard error of {row['seeds']} seeds)"
        same = f", the same network as for {seen[row['key']]}" if row["key"] in seen else ""
        told.append(
            f"For {budget}: {row['contender']} with {has}, {metric} {sure}, in {row['baseline']}"
            f"{same}."
        )
        seen.setdefault(row["key"], budget)
    if len(seen) < len(told) and section.at == "formula" and section.known_exponent:
        told.append(
            f"The exponent of {section.known_exponent:g} prefers cheap networks within a budget "
            f"too; `search.exponent: 0` names the one of highest {metric}."
        )
    return told


def _best(trials: pd.DataFrame) -> pd.DataFrame | None:
    """The trainings of the confirmation's first; else the search's best; None without a trial."""
    if ranked := confirmation_standings(trials):
        return trainings(trials, "confirmation", ranked[0])
    done = trials[(trials["study"] == "search") & (trials["state"] == "complete")]
    best = done.sort_values(["reward", "number"], ascending=[False, True]).head(1)
    return best.assign(contender="#" + best["number"].astype("string")) if len(best) else None


def _row(trained: pd.DataFrame) -> dict[str, object]:
    first, accuracy = trained.iloc[0], trained["accuracy"]
    return {
        **{name: first[name] for name in ("contender", "cost", "flops", "params", "epochs", "key")},
        "accuracy": accuracy.mean(),
        "standard_error": accuracy.sem(),
        "accuracy_low": accuracy.min(),
        "accuracy_high": accuracy.max(),
        "seeds": len(trained),
        "reward": trained["reward"].mean(),
    }
