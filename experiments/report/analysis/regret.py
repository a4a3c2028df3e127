"""How soon a search was as good as it ever became."""

import pandas as pd


def search_regret(trials: pd.DataFrame, *, best: float | None = None) -> pd.DataFrame:
    """A row a finished trial of each run's search in time: elapsed, best so far, regret.

    `elapsed` runs from the start of the run's first search trial; `regret` is `best` less the best
    reward so far. None: the highest that the run itself found, so that its regret ends at 0.
    """
    searched = trials[trials["study"] == "search"]
    began = searched.groupby("run")["started"].min()
    done = searched[searched["state"] == "complete"].dropna(subset=["reward"])
    done = done.sort_values(["run", "ended", "number"])
    since = pd.to_timedelta(done["ended"] - done["run"].map(began).astype(done["ended"].dtype))
    so_far = done.groupby("run")["reward"].cummax()
    reference = done.groupby("run")["reward"].transform("max") if best is None else best
    return pd.DataFrame(
        {
            "run": done["run"],
            "number": done["number"],
            "elapsed": since,
            "reward": done["reward"],
            "best": so_far,
            "regret": reference - so_far,
        }
    ).reset_index(drop=True)
