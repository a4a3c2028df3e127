"""The columns of the frames, their dtypes and what they mean: names are stable.

Choices among names are categoricals, counts whole numbers that may be missing, moments have their
zone (UTC). Of free text an empty string says "none"; whatever else is missing is NA.
"""

from typing import Any

import pandas as pd

from experiments.store.store import STUDIES
from experiments.store.trial import STATES

STATE = pd.CategoricalDtype(list(STATES))  # complete, pruned (stopped early), fail
STUDY = pd.CategoricalDtype(list(STUDIES))
MOMENT = pd.DatetimeTZDtype("us", "UTC")
SPAN: Any = "timedelta64[us]"

# What every trial has.
FIXED: dict[str, Any] = {
    "run": "string",
    "study": STUDY,
    "number": "Int64",
    "state": STATE,
    "reason": "string",
    "accuracy": "float64",  # of the validation part, in [0, 1]
    "reward": "float64",
    "flops": "Int64",  # multiply-adds
    "params": "Int64",
    "activations": "Int64",
    "epochs": "Int64",
    "seconds": "float64",
    "seed": "Int64",
    "host": "string",
    "device": "string",
    "key": "string",
    "started": MOMENT,  # `ended` less `duration`: earlier where the trial was interrupted
    "ended": MOMENT,  # when it was kept
    "duration": SPAN,  # `seconds` again
}
# What the trials of one study have, beside further figures of the user's own evaluation.
OWN: dict[str, Any] = {
    "cost": "float64",  # what the search's objective used, in its unit
    "latency": "float64",  # seconds of a step, where the search asked for it
    "alpha": "float64",
    "beta": "float64",
    "gamma": "float64",
    "member": "string",
    "phi": "float64",
    "target_flops": "float64",
    "depth": "float64",  # factors of the rule, before rounding
    "width": "float64",
    "resolution_factor": "float64",
    "test_accuracy": "float64",
    "baseline": "string",  # key of the network that was scaled
    "network": "string",  # of a comparison
    "panel": "string",
    "place": "Int64",  # in the config's list
    "contender": "string",  # of a confirmation or the coefficients: what was trained repeatedly
    "round": "Int64",
    "search_reward": "float64",  # that it had in the search
    "rule": "category",  # equal_flops or phi
    "reached_depth": "float64",  # factors after rounding
    "reached_width": "float64",
    "reached_resolution": "float64",
    "origin": "string",  # where a warm start took it from
}
CURVE: dict[str, Any] = {
    "run": "string",
    "study": STUDY,
    "number": "Int64",
    "epoch": "Int64",
    "metric": "category",  # accuracy, train_loss, train_accuracy, ...
    "value": "float64",
}


def column(values: list[Any], dtype: Any = None, *, text: str = "string") -> "pd.Series[Any]":
    """A column of `dtype`; of what it holds where none is named, `text` then being that of text."""
    kind = dtype or _kind(values) or text
    if kind == "string":
        values = ["" if value is None else str(value) for value in values]
    elif kind == "category" or isinstance(kind, pd.CategoricalDtype):
        values = [None if value is None or value == "" else str(value) for value in values]
    elif kind == MOMENT:
        return pd.to_datetime(pd.Series(values, dtype="object"), format="ISO8601", utc=True).astype(
            MOMENT
        )
    return pd.Series(values, dtype=kind)


def _kind(values: list[Any]) -> str | None:
    """The narrowest dtype that holds all the values; None for text."""
    kinds = {type(value) for value in values if value is not None}
    for allowed, dtype in (({bool}, "boolean"), ({int}, "Int64"), ({int, float}, "float64")):
        if kinds and kinds <= allowed:
            return dtype
    return None
