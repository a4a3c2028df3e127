"""What a frame of trials tells by itself: regret, costs, noise, the Pareto front."""

from typing import Any

import numpy as np
import pandas as pd

from experiments.store.trials import SPAN

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


def outcome_costs(trials: pd.DataFrame, *, gpus_per_trial: float = 1.0) -> pd.DataFrame:
    """A row a study and state: trials, epochs, seconds and their share of the run's, GPU seconds.

    GPU seconds are those of trials on a GPU times their share of it (column `gpus`), or
    `gpus_per_trial` where a run of an earlier version did not note it; seconds are a trial's own,
    not what the run took: several trials may run at a time.
    """
    on_gpu = ~trials["device"].isin(["", "cpu"])  # a card's own name stands there
    shares = trials["gpus"].fillna(gpus_per_trial) if "gpus" in trials else gpus_per_trial
    table = (
        trials.assign(gpu_seconds=trials["seconds"].where(on_gpu, 0.0) * shares)
        .groupby(["run", "study", "state"], observed=True)
        .agg(
            trials=("number", "size"),
            epochs=("epochs", "sum"),
            seconds=("seconds", "sum"),
            gpu_seconds=("gpu_seconds", "sum"),
        )
        .reset_index()
    )
    whole = table.groupby("run")["seconds"].transform("sum")
    share = (table["seconds"] / whole).where(whole > 0)
    table = table.assign(share=share).astype({"trials": "Int64"})
    return table[["run", "study", "state", "trials", "epochs", "seconds", "share", "gpu_seconds"]]


def seed_noise(trials: pd.DataFrame, *, of: str = "accuracy") -> pd.DataFrame:
    """A row a network that was trained with several seeds for as many epochs: n, mean, spread.

    `spread` is the standard deviation with n - 1; `pooled` that of all networks of the same run,
    study and length together, the best guess for one that was trained once. Only finished trials;
    the validation part is the same for all, and its own sampling error is not in it.
    """
    done = trials[trials["state"] == "complete"].dropna(subset=[of])
    alike = ["run", "study", "epochs"]
    groups = done.groupby([*alike, "key"], observed=True, sort=False)
    table = groups.agg(
        seeds=("seed", "nunique"),
        mean=(of, "mean"),
        spread=(of, "std"),
        low=(of, "min"),
        high=(of, "max"),
        flops=("flops", "first"),
    ).reset_index()
    table = table[table["seeds"] > 1].astype({"seeds": "Int64"})
    weight = table["seeds"].astype("float64") - 1
    sums = (
        table.assign(squares=weight * table["spread"] ** 2, weight=weight)
        .groupby(alike, observed=True)[["squares", "weight"]]
        .transform("sum")
    )
    pooled = np.sqrt(sums["squares"] / sums["weight"])
    return table.assign(pooled=pooled).reset_index(drop=True)


def at_common_epoch(
    trials: pd.DataFrame, curves: pd.DataFrame, *, epoch: int | None = None
) -> pd.DataFrame:
    """The trials that told an accuracy after `epoch`, with `accuracy`, `reward`, `epochs` of then.

    None: the latest epoch that at least half of the trials with a curve reached. Early stopping
    keeps weak trials from their last epochs, so that last accuracies are of unlike trainings.
    """
    told = curves[curves["metric"] == "accuracy"]
    place = ["run", "study", "number"]
    if epoch is None:
        reached = told.groupby("epoch").size()
        half = told[place].drop_duplicates().shape[0] / 2
        epoch = int(reached[reached >= half].index.max()) if len(reached) else 0
    then = told.loc[told["epoch"] == epoch, [*place, "value"]]
    joined = trials.merge(then, on=place, how="inner", validate="one_to_one")
    factor = (joined["reward"] / joined["accuracy"]).fillna(0.0)  # 0 / 0: the reward was 0 too
    return joined.assign(
        accuracy=joined["value"],
        reward=joined["value"] * factor,
        epochs=pd.Series(epoch, index=joined.index, dtype="Int64"),
    ).drop(columns="value")


def pareto_front(trials: pd.DataFrame, *, cost: str = "flops") -> pd.DataFrame:
    """The trials that no other beats: none costs as little or less and is more accurate.

    By rising `cost` (a column's name), and so by rising accuracy; of trials equal in both the first
    one stands. Trials without an accuracy are left out.
    """
    known = trials.dropna(subset=[cost, "accuracy"])
    ordered = known.sort_values([cost, "accuracy"], ascending=[True, False], kind="stable")
    best_so_far = ordered["accuracy"].cummax().shift(fill_value=float("-inf"))
    return ordered[ordered["accuracy"] > best_so_far]
