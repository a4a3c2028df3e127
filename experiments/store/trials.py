"""The trials of runs as pandas frames; their columns, dtypes and meanings: names are stable.

An architecture's sizes are flat columns, defaults included; each distinct stage is validated once,
so that thousands of trials are read in a second.

Choices among names are categoricals, counts whole numbers that may be missing, moments have their
zone (UTC). Of free text an empty string says "none"; whatever else is missing is NA.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial
from pydantic import TypeAdapter, ValidationError

from experiments.config.run_folder import RunFolder
from experiments.store.store import STUDIES, Studies, reading
from experiments.store.trial import STATES
from search_spaces.architecture import Architecture, Stage, Stem
from search_spaces.heads import AnyHead
from search_spaces.heads.head import DenseHead
from search_spaces.records import InputError, suggest

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
    "accuracy": "float64",  # of the validation part, in [0, 1]: what `metric` names
    "metric": "string",  # accuracy, Dice, ..., or of candidates accuracy in int8
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
    "proposed_by": "category",  # model, random, enqueued, walk (within limits), or the sampler
    "target": "float64",  # of a search of several: whose turn it was
    "peak_ram": "Int64",  # bytes as int8, where the search asked for them
    "flash": "Int64",
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
    "forecast": "float64",  # of a member's test accuracy, before its training; then its 90 % ends
    "forecast_low": "float64",
    "forecast_high": "float64",
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

# Of a dense head: what it reads, and which of its boxes are kept.
_JUDGING: Any = {
    "reads": True,
    "predictor": {"score_threshold": True, "nms_iou": True, "detections": True},
}
_STORED_AS = {"resolution_factor": "resolution"}  # there the name is free, here it means pixels
_NOT_COLUMNS = {
    *("curve", "curves", "architecture", "label", "suggestion", "training"),
    *_STORED_AS.values(),
}
_LEFT_OUT = FIXED.keys() | _NOT_COLUMNS

Runs = str | Path | Sequence[str | Path]

_head: TypeAdapter[Any] = TypeAdapter(AnyHead)


def sizes_of(architecture: str, *, source: str) -> dict[str, Any]:
    """`stages.<i>.<field>`, `resolution`, `stem.channels`, `head.channels` of an architecture.

    Of a head for masks or boxes also its other fields, as `head.kind` and `head.predictor.layers`;
    lists are texts. Of nothing, nothing. Raises InputError, which names `source`, for what is no
    architecture.
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
        sizes |= _head_sizes(json.dumps(stored.get("head", {})))
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
def _head_sizes(head: str) -> dict[str, Any]:
    found = _head.validate_json(head)
    fields = found.model_dump(mode="json", exclude=_JUDGING) if isinstance(found, DenseHead) else {}
    predictor = fields.pop("predictor", {})
    fields |= {f"predictor.{field}": value for field, value in predictor.items()}
    texts = {n: json.dumps(v) if isinstance(v, list) else v for n, v in fields.items()}
    return {f"head.{name}": v for name, v in {"channels": found.channels, **texts}.items()}


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def column(values: list[Any], dtype: Any = None, *, text: str = "string") -> "pd.Series[Any]":
    """A column of `dtype`; of what it holds where none is named, `text` then being that of text."""
    kind = dtype or _kind(values) or text
    if dtype is None and text == "category" and all(value is None for value in values):
        kind = "float64"  # no file keeps a category without any value
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


def load_trials(run: Runs, *, study: str | None = None) -> pd.DataFrame:
    """A row a trial of one run folder or several, all studies unless one is named.

    The columns of FIXED come first, then `stages.<i>.<field>` and the rest of the architecture's
    sizes, then those of OWN that the trials have. `architecture` is the whole of it as JSON. A
    search may be writing meanwhile; nothing is written. Raises InputError for a folder that is no
    run and for an unknown study.
    """
    fixed, sizes, own, whole = [], [], [], []
    folders = dict(named_runs(run))
    for name, part, studies in _studies(run, study):
        kept = part in ("family", "comparison")  # their networks are kept, so judged as they are
        metric = folders[name].metric if kept else folders[name].judged
        for trial in studies.rows(part):
            attributes = trial.attributes
            place = {"run": name, "study": part, "number": trial.number, "ended": trial.ended}
            place |= {"state": trial.state.lower(), "metric": metric}
            fixed.append({name: place.get(name, attributes.get(name)) for name in FIXED})
            source = f"the architecture of trial {trial.number} of study '{part}'"
            sizes.append(sizes_of(attributes.get("architecture", ""), source=source))
            own.append(_own(attributes))
            whole.append({"architecture": attributes.get("architecture", "")})
    frames = [
        _timed(_frame(fixed, FIXED, names=FIXED)),
        _frame(sizes, {}, names=_stages_first(sizes), text="category"),
        _frame(own, OWN, names=_known_first(own), text="category"),
        _frame(whole, {"architecture": "string"}, names=["architecture"] if whole else []),
    ]
    return pd.concat(frames, axis=1)


def load_notes(run: str | Path, *, study: str) -> dict[str, Any]:
    """What one run's store keeps of a study as a whole."""
    with reading(RunFolder.open(run)) as studies:
        return studies.notes(study)


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
        for name, part, studies in _studies(run, study)
        for trial in studies.trials(part)
        for metric, values in _curves(trial).items()
        for epoch, value in zip(sorted(trial.intermediate_values), values, strict=False)
        if value is not None
    ]
    return _frame(rows, CURVE, names=CURVE)


def _curves(trial: FrozenTrial) -> dict[str, list[float | None]]:
    attributes = trial.user_attrs
    return {"accuracy": attributes.get("curve", []), **attributes.get("curves", {})}


def _studies(run: Runs, study: str | None) -> Iterator[tuple[str, str, Studies]]:
    """(run, study, store) of every study of every run."""
    if study is not None and study not in STUDIES:
        raise InputError(f"unknown study '{study}'; {suggest(study, STUDIES)}")
    for name, folder in named_runs(run):
        with reading(folder) as studies:
            for part in STUDIES if study is None else (study,):
                yield name, part, studies


def named_runs(run: Runs) -> list[tuple[str, RunFolder]]:
    """Each run's name in the frames and its folder; two of one name are called by their paths.

    Raises InputError for none, and for a folder that is no run.
    """
    paths = [Path(p) for p in ([run] if isinstance(run, str | Path) else run)]
    if not paths:
        raise InputError("no run is named; give a run folder, or a list of some")
    shorts = [path.resolve().name for path in paths]
    times = Counter(shorts)
    return [
        (short if times[short] == 1 else path.as_posix(), RunFolder.open(path))
        for short, path in zip(shorts, paths, strict=True)
    ]


def _own(attributes: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in attributes.items() if name not in _LEFT_OUT}
    for name, stored in _STORED_AS.items():
        if stored in attributes:
            own[name] = attributes[stored]
    training = attributes.get("training", {})
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


def _timed(trials: pd.DataFrame) -> pd.DataFrame:
    duration = pd.to_timedelta(trials["seconds"], unit="s").astype(SPAN)
    return trials.assign(started=trials["ended"] - duration, duration=duration)


def _frame(
    rows: list[dict[str, Any]],
    types: dict[str, Any],
    *,
    names: Iterable[str],
    text: str = "string",
) -> pd.DataFrame:
    """`text` is the dtype of text in columns that `types` does not name."""
    columns = {
        name: column([row.get(name) for row in rows], types.get(name), text=text) for name in names
    }
    return pd.DataFrame(columns, index=range(len(rows)))
