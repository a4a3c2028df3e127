"""How soon a search was as good as it ever became."""

from typing import Any

import pandas as pd

from experiments.store.columns import SPAN

_COLUMNS: dict[str, Any] = {
    "run": "string",
    "number": "Int64",
    "elapsed": SPAN,
    "reward": "float64",
    "best": "float64",
    "regret": "float64",
}


def search_regret(trials: pd.DataFrame, *, best: float | None = None) -> pd.DataFrame:
    """A row a finished trial of each run's search in time: elapsed, best so far, regret.

    `elapsed` runs from the start of the run's first search trial; `regret` is `best` less the best
    reward so far. None: the highest that the run itself found, so that its regret ends at 0.
    """
    searched = trials[trials["study"] == "search"]
    done = searched[searched["state"] == "complete"].dropna(subset=["reward"])
    done = done.sort_values(["run", "ended", "number"])
    if done.empty:
        return pd.DataFrame(columns=list(_COLUMNS)).astype(_COLUMNS)
    began = searched.groupby("run")["started"].transform("min")
    so_far = done.groupby("run")["reward"].cummax()
    reference = done.groupby("run")["reward"].transform("max") if best is None else best
    table = done[["run", "number", "reward"]].assign(
        elapsed=done["ended"] - began.loc[done.index], best=so_far, regret=reference - so_far
    )
    return table[list(_COLUMNS)].reset_index(drop=True)
