"""The Pareto front of cost and accuracy."""

import pandas as pd


def pareto_front(trials: pd.DataFrame, *, cost: str = "flops") -> pd.DataFrame:
    """The trials that no other beats: none costs as little or less and is more accurate.

    By rising `cost` (a column's name), and so by rising accuracy; of trials equal in both the first
    one stands. Trials without an accuracy are left out.
    """
    known = trials.dropna(subset=[cost, "accuracy"])
    ordered = known.sort_values([cost, "accuracy"], ascending=[True, False], kind="stable")
    best_so_far = ordered["accuracy"].cummax().shift(fill_value=float("-inf"))
    return ordered[ordered["accuracy"] > best_so_far]
