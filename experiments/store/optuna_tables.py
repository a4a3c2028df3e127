"""Optuna's tables, read and written a trial at a time: its own interface goes row by row.

This file alone uses private names of Optuna's storage: the tables of `optuna.storages._rdb.models`
with the columns in COLUMNS, and the two functions by which they keep a value that is no number.

A finished trial is some dozens of rows. RDBStorage looks each one up before it writes it, and reads
10,000 trials in a quarter of a minute; here a trial is a statement a table, all in one transaction.
The schema is Optuna's (version 12, unchanged since Optuna 3.2, pinned by a test); any Optuna opens
what is written here. Works for SQLite and PostgreSQL alike.
"""

import datetime
import json
import math
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Engine, Text, cast, func, insert, select

SCHEMA = 12
# table -> the columns that we read or write; a test asserts that each of them exists
COLUMNS = {
    "StudyModel": ("study_id", "study_name"),
    "StudyUserAttributeModel": ("study_id", "key", "value_json"),
    "TrialModel": (
        *("trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"),
    ),
    "TrialParamModel": (
        *("param_id", "trial_id", "param_name", "param_value", "distribution_json"),
    ),
    "TrialValueModel": ("trial_id", "objective", "value", "value_type"),
    "TrialIntermediateValueModel": (
        *("trial_intermediate_value_id", "trial_id", "step"),
        *("intermediate_value", "intermediate_value_type"),
    ),
    "TrialUserAttributeModel": ("trial_user_attribute_id", "trial_id", "key", "value_json"),
    "TrialSystemAttributeModel": ("trial_system_attribute_id", "trial_id", "key", "value_json"),
}
FUNCTIONS = {
    "TrialValueModel": "value_to_stored_repr",
    "TrialIntermediateValueModel": "intermediate_value_to_stored_repr",
}
_STUDIES = models.StudyModel.__table__
_NOTES = models.StudyUserAttributeModel.__table__
_TRIALS = models.TrialModel.__table__
_PARAMS = models.TrialParamModel.__table__
_VALUES = models.TrialValueModel.__table__
_STEPS = models.TrialIntermediateValueModel.__table__
_ATTRIBUTES = models.TrialUserAttributeModel.__table__
_SYSTEM = models.TrialSystemAttributeModel.__table__
_distribution = lru_cache(maxsize=10_000)(json_to_distribution)


class TrialRow(NamedTuple):
    """A trial as the tables of a report need it."""

    number: int
    state: str  # Optuna's name, as COMPLETE
    ended: str | None  # UTC
    attributes: dict[str, Any]


def create_tables(engine: Engine) -> None:
    """Optuna's tables, empty."""
    models.BaseModel.metadata.create_all(engine)


def study_id(connection: Connection, name: str) -> int | None:
    """The key of a study, or None where it is not there."""
    query = select(_STUDIES.c.study_id).where(_STUDIES.c.study_name == name)
    return connection.execute(query).scalar()


def begun_studies(connection: Connection) -> set[str]:
    """The names of all studies that hold a trial."""
    has_trials = _STUDIES.c.study_id.in_(select(_TRIALS.c.study_id))
    return set(connection.execute(select(_STUDIES.c.study_name).where(has_trials)).scalars())


def read_notes(connection: Connection, study_id: int) -> dict[str, Any]:
    """The user attributes of a study as a whole."""
    query = select(_NOTES.c.key, _NOTES.c.value_json).where(_NOTES.c.study_id == study_id)
    return {key: json.loads(value) for key, value in connection.execute(query)}


def write_trial(connection: Connection, study_id: int, trial: FrozenTrial) -> int:
    """Append a finished trial to a study, within the caller's transaction; return its number."""
    # The study's row is the lock, as in Optuna itself: somebody else may add a trial by Optuna.
    connection.execute(
        select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == study_id).with_for_update()
    )
    newest = connection.execute(
        select(_TRIALS.c.number)
        .where(_TRIALS.c.study_id == study_id)
        .order_by(_TRIALS.c.trial_id.desc())
        .limit(1)
    ).scalar()
    number = 0 if newest is None else newest + 1
    row = {
        "number": number,
        "study_id": study_id,
        "state": trial.state,
        "datetime_start": _to_utc(trial.datetime_start),
        "datetime_complete": _to_utc(trial.datetime_complete),
    }
    key = connection.execute(insert(_TRIALS).values(row)).inserted_primary_key
    assert key is not None
    for table, rows in _rows(trial).items():
        if rows:
            connection.execute(insert(table), [{"trial_id": key[0], **row} for row in rows])
    return number


def read_trials(connection: Connection, study_id: int) -> list[FrozenTrial]:
    """All trials of a study by number, equal to what `study.get_trials()` gives."""
    # Their rows first: a trial is written whole, so what belongs to it is there when it is. One
    # that ends while we read has then left parts that nobody asks for, not a row without parts.
    rows = list(_trial_rows(connection, study_id))
    values = _grouped(connection, study_id, _VALUES, "objective")
    steps = _grouped(connection, study_id, _STEPS, "trial_intermediate_value_id")
    params = _grouped(connection, study_id, _PARAMS, "param_id")
    attributes = _grouped(connection, study_id, _ATTRIBUTES, "trial_user_attribute_id")
    system = _grouped(connection, study_id, _SYSTEM, "trial_system_attribute_id")
    trials = []
    for row in rows:
        own = params[row.trial_id]
        kinds: dict[str, BaseDistribution] = {
            p.param_name: _distribution(p.distribution_json) for p in own
        }
        trials.append(
            FrozenTrial(
                number=row.number,
                state=row.state,
                value=None,
                values=[_value(v.value, v.value_type) for v in values[row.trial_id]] or None,
                datetime_start=_from_utc(row.datetime_start),
                datetime_complete=_from_utc(row.datetime_complete),
                params={
                    p.param_name: kinds[p.param_name].to_external_repr(p.param_value) for p in own
                },
                distributions=kinds,
                user_attrs={a.key: json.loads(a.value_json) for a in attributes[row.trial_id]},
                system_attrs={a.key: json.loads(a.value_json) for a in system[row.trial_id]},
                intermediate_values={
                    s.step: _value(s.intermediate_value, s.intermediate_value_type)
                    for s in steps[row.trial_id]
                },
                trial_id=row.trial_id,
            )
        )
    return trials


def read_rows(connection: Connection, study_id: int) -> list[TrialRow]:
    """A study's trials with their user attributes alone: a row a trial, not one an attribute."""
    key: Any = func.json_quote(_ATTRIBUTES.c.key)  # SQLite's
    if connection.dialect.name != "sqlite":
        key = cast(func.to_json(cast(_ATTRIBUTES.c.key, Text)), Text)
    pairs = key.concat(":").concat(_ATTRIBUTES.c.value_json)
    attributes = (
        select(func.aggregate_strings(pairs, ","))
        .where(_ATTRIBUTES.c.trial_id == _TRIALS.c.trial_id)
        .scalar_subquery()
    )
    query = (
        select(_TRIALS.c.number, _TRIALS.c.state, _TRIALS.c.datetime_complete, attributes)
        .where(_TRIALS.c.study_id == study_id)
        .order_by(_TRIALS.c.trial_id)
    )
    return [
        TrialRow(
            number,
            state.name,
            None if ended is None else ended.isoformat(sep=" "),
            json.loads(f"{{{own or ''}}}"),
        )
        for number, state, ended, own in connection.execute(query)
    ]


def _rows(trial: FrozenTrial) -> dict[Any, list[dict[str, Any]]]:
    """Table -> the trial's rows in it, without its id."""
    params = [
        {
            "param_name": name,
            "param_value": kind.to_internal_repr(trial.params[name]),
            "distribution_json": distribution_to_json(kind),
        }
        for name, kind in trial.distributions.items()
    ]
    values = []
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        values.append({"objective": objective, "value": stored, "value_type": kind})
    steps = []
    for step, value in trial.intermediate_values.items():
        number, sort = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        row = {"step": step, "intermediate_value": number, "intermediate_value_type": sort}
        steps.append(row)
    return {
        _PARAMS: params,
        _VALUES: values,
        _STEPS: steps,
        _ATTRIBUTES: _pairs(trial.user_attrs),
        _SYSTEM: _pairs(trial.system_attrs),
    }


def _pairs(attributes: dict[str, Any]) -> list[dict[str, str]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _trial_rows(connection: Connection, study_id: int) -> Iterable[Any]:
    of_study = _TRIALS.c.study_id == study_id
    return connection.execute(select(_TRIALS).where(of_study).order_by(_TRIALS.c.trial_id))


def _grouped(connection: Connection, study_id: int, table: Any, order: str) -> dict[int, list[Any]]:
    """The rows of a table by trial."""
    joined = table.join(_TRIALS, _TRIALS.c.trial_id == table.c.trial_id)
    query = (
        select(table)
        .select_from(joined)
        .where(_TRIALS.c.study_id == study_id)
        .order_by(table.c.trial_id, table.c[order])
    )
    rows: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        rows[row.trial_id].append(row)
    return rows


def _value(stored: float | None, kind: Any) -> float:
    if stored is not None:
        return stored
    return {"INF_POS": math.inf, "INF_NEG": -math.inf}.get(kind.name, math.nan)


def _to_utc(local: datetime.datetime | None) -> datetime.datetime | None:
    return None if local is None else local.astimezone(datetime.UTC).replace(tzinfo=None)


def _from_utc(stored: datetime.datetime | None) -> datetime.datetime | None:
    """Optuna's trials have local times without a zone."""
    if stored is None:
        return None
    return stored.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)
