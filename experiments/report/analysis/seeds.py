"""Noise: how far trainings of one network lie apart that differ in nothing but the seed."""

import numpy as np
import pandas as pd


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
