"""The trials of runs as pandas frames."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial

from experiments.report.sizes import sizes_of
from experiments.report.snapshot import Snapshot, reading
from experiments.run_folder import RunFolder
from experiments.studies.store import STUDIES, Store
from search_spaces.records import InputError, suggest

# What every trial has. Of text, an empty string says "none"; a number that is missing is NA.
FIXED = {
    "run": "string",
    "study": "string",
    "number": "Int64",
    "state": "string",  # complete, pruned (stopped early), fail
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
}
# What the trials of one study have, beside further figures of the user's own evaluation.
OWN = {
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
}
CURVE = {
    "run": "string",
    "study": "string",
    "number": "Int64",
    "epoch": "Int64",
    "metric": "string",  # accuracy, train_loss, train_accuracy, ...
    "value": "float64",
}
_STORED_AS = {"resolution_factor": "resolution"}  # there the name is free, here it means pixels
_NOT_COLUMNS = {
    *("curve", "curves", "architecture", "label", "suggestion"),
    *_STORED_AS.values(),
}
_LEFT_OUT = FIXED.keys() | _NOT_COLUMNS

Runs = str | Path | Sequence[str | Path]


def load_trials(run: Runs, *, study: str | None = None) -> pd.DataFrame:
    """A row a trial of one run folder or several, all three studies unless one is named.

    The columns of FIXED come first, then `stages.<i>.<field>` and the rest of the architecture's
    sizes, then those of OWN that the trials have. `architecture` is the whole of it as JSON. A
    search may be writing meanwhile; nothing is written. Raises InputError for a folder that is no
    run and for an unknown study.
    """
    fixed, sizes, own, whole = [], [], [], []
    for name, part, snapshot in _snapshots(run, study):
        for number, state, attributes in snapshot.attributes(part):
            place = {"run": name, "study": part, "number": number, "state": state.lower()}
            fixed.append({column: place.get(column, attributes.get(column)) for column in FIXED})
            source = f"the architecture of trial {number} of study '{part}'"
            sizes.append(sizes_of(attributes.get("architecture", ""), source=source))
            own.append(_own(attributes))
            whole.append({"architecture": attributes.get("architecture", "")})
    frames = [
        _frame(fixed, FIXED, names=FIXED),
        _frame(sizes, {}, names=_stages_first(sizes)),
        _frame(own, OWN, names=_known_first(own)),
        _frame(whole, {"architecture": "string"}, names=["architecture"] if whole else []),
    ]
    return pd.concat(frames, axis=1)


def load_curves(run: Runs, *, study: str | None = None) -> pd.DataFrame:
    """What each trial told after each epoch, counted from 1: a row an epoch and metric.

    `accuracy` is of the validation part; the built-in training adds `train_loss` and
    `train_accuracy`, an own evaluation what it reports.
    """
    rows = [
        {
            "run": name,
            "study": part,
            "number": trial.number,
            "epoch": epoch,
            "metric": metric,
            "value": value,
        }
        for name, part, snapshot in _snapshots(run, study)
        for trial in snapshot.trials(part)
        for metric, values in _curves(trial).items()
        for epoch, value in zip(sorted(trial.intermediate_values), values, strict=False)
        if value is not None
    ]
    return _frame(rows, CURVE, names=CURVE)


def _curves(trial: FrozenTrial) -> dict[str, list[float | None]]:
    attributes = trial.user_attrs
    return {"accuracy": attributes.get("curve", []), **attributes.get("curves", {})}


def _snapshots(run: Runs, study: str | None) -> Iterator[tuple[str, str, Snapshot | Store]]:
    """(run, study, store) of every study of every run."""
    if study is not None and study not in STUDIES:
        raise InputError(f"unknown study '{study}'; {suggest(study, STUDIES)}")
    paths = [Path(p) for p in ([run] if isinstance(run, str | Path) else run)]
    times = Counter(path.resolve().name for path in paths)
    for path in paths:
        folder = RunFolder.open(path)
        short = path.resolve().name
        name = short if times[short] == 1 else path.as_posix()
        with reading(folder) as snapshot:
            for part in STUDIES if study is None else (study,):
                yield name, part, snapshot


def _own(attributes: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in attributes.items() if name not in _LEFT_OUT}
    for column, stored in _STORED_AS.items():
        if stored in attributes:
            own[column] = attributes[stored]
    return own


def _stages_first(rows: list[dict[str, Any]]) -> list[str]:
    """Stages by number, a stage's fields as they come, then the rest."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    stages = [name for name in names if name.startswith("stages.")]
    stages.sort(key=lambda name: int(name.split(".")[1]))
    return [*stages, *(name for name in names if name not in stages)]


def _known_first(rows: list[dict[str, Any]]) -> list[str]:
    names = {name for row in rows for name in row}
    return [*(name for name in OWN if name in names), *sorted(names - OWN.keys())]


def _frame(
    rows: list[dict[str, Any]], types: dict[str, str], *, names: Iterable[str]
) -> pd.DataFrame:
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        kind = types.get(name) or _kind(values)
        if kind == "string":
            values = ["" if value is None else str(value) for value in values]
        columns[name] = pd.Series(values, dtype=kind)
    return pd.DataFrame(columns, index=range(len(rows)))


def _kind(values: list[Any]) -> str:
    """The dtype of a column that no table names: the narrowest that holds all its values."""
    kinds = {type(value) for value in values if value is not None}
    for allowed, dtype in (({bool}, "boolean"), ({int}, "Int64"), ({int, float}, "float64")):
        if kinds and kinds <= allowed:
            return dtype
    return "string"
