"""The trials of runs as pandas frames."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial

from experiments.config.run_folder import RunFolder
from experiments.store.columns import CURVE, FIXED, OWN, SPAN, column, sizes_of
from experiments.store.store import STUDIES, Studies, reading
from search_spaces.records import InputError, suggest

_STORED_AS = {"resolution_factor": "resolution"}  # there the name is free, here it means pixels
_NOT_COLUMNS = {
    *("curve", "curves", "architecture", "label", "suggestion", "training"),
    *_STORED_AS.values(),
}
_LEFT_OUT = FIXED.keys() | _NOT_COLUMNS

Runs = str | Path | Sequence[str | Path]


def load_trials(run: Runs, *, study: str | None = None) -> pd.DataFrame:
    """A row a trial of one run folder or several, all studies unless one is named.

    The columns of FIXED come first, then `stages.<i>.<field>` and the rest of the architecture's
    sizes, then those of OWN that the trials have. `architecture` is the whole of it as JSON. A
    search may be writing meanwhile; nothing is written. Raises InputError for a folder that is no
    run and for an unknown study.
    """
    fixed, sizes, own, whole = [], [], [], []
    for name, part, studies in _studies(run, study):
        for trial in studies.rows(part):
            attributes = trial.attributes
            place = {"run": name, "study": part, "number": trial.number, "ended": trial.ended}
            place["state"] = trial.state.lower()
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
