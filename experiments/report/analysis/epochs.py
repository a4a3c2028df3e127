"""Trials as they stood after one and the same epoch: only so are stopped ones comparable."""

import pandas as pd


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
