"""The trials of runs as pandas frames."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial

from experiments.report.snapshot import Snapshot
from experiments.run_folder import RunFolder
from experiments.studies.store import STUDIES
from search_spaces.architecture import Architecture
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
    "contender": "string",  # of a confirmation or the coefficients: what was trained repeatedly
    "round": "Int64",
    "search_reward": "float64",  # that it had in the search
    "rule": "string",  # equal_flops or phi
    "reached_depth": "float64",  # factors after rounding
    "reached_width": "float64",
    "reached_resolution": "float64",
    "origin": "string",  # where a warm start took it from
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
_NOT_COLUMNS = {"curve", "curves", "architecture", "label", "training", *_STORED_AS.values()}

Runs = str | Path | Sequence[str | Path]


def load_trials(run: Runs, *, study: str | None = None) -> pd.DataFrame:
    """A row a trial of one run folder or several, all studies unless one is named.

    The columns of FIXED come first, then `stages.<i>.<field>` and the rest of the architecture's
    sizes, then those of OWN that the trials have. `architecture` is the whole of it as JSON. A
    search may be writing meanwhile; nothing is written. Raises InputError for a folder that is no
    run and for an unknown study.
    """
    fixed, sizes, own, whole = [], [], [], []
    for name, part, trial in _stored(run, study):
        fixed.append(_fixed(name, part, trial))
        sizes.append(_sizes(trial, part))
        own.append(_own(trial))
        whole.append({"architecture": trial.user_attrs.get("architecture", "")})
    frames = [
        _frame(fixed, FIXED, names=FIXED),
        _frame(sizes, {}, names=_stages_first(sizes)),
        _frame(own, OWN, names=_known_first(own)),
        _frame(whole, {"architecture": "string"}, names=["architecture"] if whole else []),
    ]
    return pd.concat(frames, axis=1)


def load_notes(run: str | Path, *, study: str) -> dict[str, Any]:
    """What one run's store keeps of a study as a whole."""
    with Snapshot(RunFolder.open(run).study) as snapshot:
        return snapshot.notes(study)


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
        for name, part, trial in _stored(run, study)
        for metric, values in _curves(trial).items()
        for epoch, value in enumerate(values, start=1)
        if value is not None
    ]
    return _frame(rows, CURVE, names=CURVE)


def _curves(trial: FrozenTrial) -> dict[str, list[float | None]]:
    attributes = trial.user_attrs
    return {"accuracy": attributes.get("curve", []), **attributes.get("curves", {})}


def _stored(run: Runs, study: str | None) -> Iterator[tuple[str, str, FrozenTrial]]:
    """(run, study, trial) of every stored trial."""
    if study is not None and study not in STUDIES:
        raise InputError(f"unknown study '{study}'; {suggest(study, STUDIES)}")
    paths = [Path(p) for p in ([run] if isinstance(run, str | Path) else run)]
    times = Counter(path.resolve().name for path in paths)
    for path in paths:
        folder = RunFolder.open(path)
        short = path.resolve().name
        name = short if times[short] == 1 else path.as_posix()
        with Snapshot(folder.study) as snapshot:
            for part in STUDIES if study is None else (study,):
                for trial in snapshot.trials(part):
                    yield name, part, trial


def _fixed(run: str, study: str, trial: FrozenTrial) -> dict[str, Any]:
    place = {"run": run, "study": study, "number": trial.number, "state": trial.state.name.lower()}
    return {name: place.get(name, trial.user_attrs.get(name)) for name in FIXED}


def _sizes(trial: FrozenTrial, study: str) -> dict[str, Any]:
    """The architecture's sizes, flat, defaults included."""
    if "architecture" not in trial.user_attrs:
        return {}
    stored = json.loads(trial.user_attrs["architecture"])
    source = f"the architecture of trial {trial.number} of study '{study}'"
    network = Architecture.parse(stored, source=source)
    sizes: dict[str, Any] = {}
    for i, stage in enumerate(network.stages):
        data = stage.model_dump(mode="json")
        block = data.pop("block")
        sizes.update({f"stages.{i}.{field}": value for field, value in data.items()})
        sizes.update({f"stages.{i}.block.{field}": value for field, value in block.items()})
    sizes["resolution"] = network.resolution
    sizes["stem.channels"] = network.stem.channels
    sizes["head.channels"] = network.head.channels
    return sizes


def _own(trial: FrozenTrial) -> dict[str, Any]:
    left_out = FIXED.keys() | _NOT_COLUMNS
    own = {name: value for name, value in trial.user_attrs.items() if name not in left_out}
    for column, stored in _STORED_AS.items():
        if stored in trial.user_attrs:
            own[column] = trial.user_attrs[stored]
    training = trial.user_attrs.get("training", {})
    return own | {f"training.{name}": value for name, value in training.items()}


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
