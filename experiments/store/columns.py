"""The columns of the frames, their dtypes and what they mean: names are stable.

An architecture's sizes are flat columns, defaults included; each distinct stage is validated once,
so that thousands of trials are read in a second.

Choices among names are categoricals, counts whole numbers that may be missing, moments have their
zone (UTC). Of free text an empty string says "none"; whatever else is missing is NA.
"""

import json
from functools import lru_cache
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from experiments.store.store import STUDIES
from experiments.store.trial import STATES
from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.head import AnyHead

_head: TypeAdapter[Any] = TypeAdapter(AnyHead)


def sizes_of(architecture: str, *, source: str) -> dict[str, Any]:
    """`stages.<i>.<field>`, `resolution`, `stem.channels`, `head.channels` of an architecture.

    Of nothing, nothing. Raises InputError, which names `source`, for what is no architecture.
    """
    if not architecture:
        return {}
    try:
        stored = json.loads(architecture)
        sizes: dict[str, Any] = {}
        for i, stage in enumerate(stored["stages"]):
            sizes.update(_stage_sizes(i, json.dumps(stage)))
        sizes["resolution"] = stored["resolution"]
        sizes["stem.channels"] = _stem_channels(json.dumps(stored["stem"]))
        sizes["head.channels"] = _head_channels(json.dumps(stored.get("head", {})))
    except (ValueError, KeyError, TypeError, ValidationError):
        Architecture.parse(_loaded(architecture), source=source)
        raise  # an architecture, and yet not of this form: a mistake of ours
    return sizes


@lru_cache(maxsize=100_000)
def _stage_sizes(number: int, stage: str) -> dict[str, Any]:
    data = Stage.model_validate_json(stage).model_dump(mode="json")
    block = data.pop("block")
    sizes = {f"stages.{number}.{field}": value for field, value in data.items()}
    return sizes | {f"stages.{number}.block.{field}": value for field, value in block.items()}


@lru_cache(maxsize=10_000)
def _stem_channels(stem: str) -> int:
    return Stem.model_validate_json(stem).channels


@lru_cache(maxsize=10_000)
def _head_channels(head: str) -> Any:
    return _head.validate_json(head).channels


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


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
