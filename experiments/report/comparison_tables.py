"""The tables of a comparison: errors, and gradient norms where they were recorded."""

import pandas as pd

GRADIENT = "gradient_norm."  # how the metrics of gradient norms begin, then the weight's name

_ERRORS = "network panel params flops seeds train_error error error_spread test_error seconds"


def compared_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """The finished trainings of a comparison, in the order in which its config names them."""
    done = trials[(trials["study"] == "comparison") & (trials["state"] == "complete")]
    return done.sort_values(["place", "seed"]) if len(done) else done


def errors_table(compared: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """A row a network, figures of the last epoch, means over the seeds.

    train_error is of the augmented images in train mode, error of the validation part, its spread
    the standard deviation over the seeds.
    """
    seen = curves[curves["metric"] == "train_accuracy"].groupby("number")["value"].last()
    table = (
        compared.assign(
            train_error=1 - compared["number"].map(seen).astype("float64"),
            error=1 - compared["accuracy"],
            test_error=1 - compared["test_accuracy"],
        )
        .groupby("network", sort=False)
        .agg(
            panel=("panel", "first"),
            params=("params", "first"),
            flops=("flops", "first"),
            seeds=("seed", "nunique"),
            train_error=("train_error", "mean"),
            error_spread=("error", "std"),
            error=("error", "mean"),
            test_error=("test_error", "mean"),
            seconds=("seconds", "mean"),
        )
    )
    return table.reset_index()[_ERRORS.split()]


def gradients_table(compared: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """A row a network: the norms of its first and last weight's gradient at the first step.

    Means over the seeds; no rows where none were recorded.
    """
    norms = first_norms(curves).groupby("number")["value"].agg(["size", "first", "last"])
    joined = compared.set_index("number").join(norms, how="inner")
    table = joined.groupby("network", sort=False).agg(
        panel=("panel", "first"),
        layers=("size", "first"),
        first_norm=("first", "mean"),
        last_norm=("last", "mean"),
    )
    return table.reset_index()


def first_norms(curves: pd.DataFrame) -> pd.DataFrame:
    """Of the curves, the gradient norms at the first step, from the image to the scores."""
    return curves[(curves["epoch"] == 1) & curves["metric"].str.startswith(GRADIENT)]
