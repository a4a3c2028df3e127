"""Known results before a search: trials of an earlier run, or the rows of a CSV.

Enqueued parameters are the search's first trials. Told results are in their own study,
`warm_start`, with the reward that they would have here: the sampler learns from them, but they are
no trials of the run, and only the confirmation trains them here.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from experiments.config.messages import say
from experiments.config.run_folder import RunFolder
from experiments.config.search_section import SearchSection, WarmStart
from experiments.engine.budgets import TARGET
from experiments.engine.limits import limits_text
from experiments.engine.pricing import Pricing
from experiments.engine.session import Session
from experiments.store.trial import Candidate, Known, Trial
from search_spaces.records import InputError, suggest
from search_spaces.space import SearchSpace

Told = tuple[list[Known], list[FrozenTrial]]
STUDY = "warm_start"


def read_warm_start(section: WarmStart, space: SearchSpace) -> list[Known]:
    """The trials of the source, checked against the space.

    Raises InputError for parameters that the space does not have, and for missing results if they
    are needed.
    """
    source = section.source
    rows = _csv_rows(source, space) if source.suffix.lower() == ".csv" else _run_rows(section)
    known = [replace(row, params=_checked(row, space, source=str(source))) for row in rows]
    if not known:
        raise InputError(f"'{source}' holds no finished trial to start from; name another")
    if section.mode == "tell" or section.top is not None:
        for row in known:
            _check_result(row, space, source=str(source))
    return known


def check_lengths(known: list[Known], section: SearchSection) -> None:
    """Raise InputError if a told result is from a longer or shorter training than the search's.

    The model would treat it as one of the same length: after longer ones no trial of the search
    would look good. A part of its curve does not help, as the learning rate depends on the length
    of the whole training. A result without a length is assumed to have the same length.
    """
    warm = section.warm_start
    if warm is None or warm.mode != "tell":
        return
    other = next((row for row in known if row.epochs not in (None, 0, section.epochs)), None)
    if other is not None:
        raise InputError(
            f"{warm.source}: {other.origin} was trained for {other.epochs} epochs, but here a "
            f"trial has {section.epochs}, so its accuracy cannot be compared; use `mode: "
            f"enqueue`, or set search.epochs to {other.epochs}"
        )


def load_warm_start(session: Session, space: SearchSpace) -> Told:
    """(enqueued, told); read into the store once, after which the source is not needed."""
    section = session.config.search.warm_start
    if section is None:
        return [], []
    store = session.store
    if "source" not in store.notes(STUDY):
        known = read_warm_start(section, space)
        check_lengths(known, session.config.search)
        known = _within_limits(known, space, session)
        if section.top is not None:
            known = _best(known, section.top, space, session)
        if section.mode == "tell":
            there = {trial.user_attrs["origin"] for trial in store.trials(STUDY)}
            for row in known:
                if row.origin not in there:
                    store.record(STUDY, _as_trial(row, space, session))
        else:
            store.note(STUDY, "enqueued", [asdict(row) for row in known])
        store.note(STUDY, "source", str(section.source))
        say(f"warm start: {len(known)} trials of {section.source}, mode {section.mode}")
    enqueued = [Known(**row) for row in store.notes(STUDY).get("enqueued", [])]
    return enqueued, store.trials(STUDY)


def _within_limits(known: list[Known], space: SearchSpace, session: Session) -> list[Known]:
    """Those within the search's limits; a line says how many are not. The others cannot win.

    A row without some parameters is kept: the sampler fills it.
    """
    section = session.config.search
    if not section.limits:
        return known
    pricing = Pricing(section, **session.sizes)

    def within(row: Known) -> bool:
        try:
            architecture = pricing.brought(_suggest(row, space)[1])
        except InputError:  # parts that do not fit together, or a target out of reach
            return False
        except ValueError:  # a missing parameter
            return True
        cost = pricing.cost(architecture)
        latency = None if pricing.measures else pricing.latency(architecture, cost)
        return pricing.excess(cost, latency) == 0

    kept = [row for row in known if within(row)]
    if len(kept) < len(known):
        say(
            f"warm start: {len(known) - len(kept)} of {len(known)} networks are outside the "
            f"limits{limits_text(section)} and left out"
        )
    return kept


def _run_rows(section: WarmStart) -> Iterator[Known]:
    """The finished trials of a run's search."""
    from experiments.store.store import reading

    path = section.source
    folder = RunFolder.open(path)
    if section.mode == "tell" and folder.config.search.at == "budget":
        raise InputError(
            f"'{path}' trained its networks scaled to a budget, so its accuracies are of other "
            f"networks; use `mode: enqueue`"
        )
    with reading(folder) as snapshot:
        for trial in snapshot.trials("search"):
            if trial.state == TrialState.COMPLETE:
                origin = f"{path.resolve().name}#{trial.number}"
                told = trial.user_attrs
                params = {name: value for name, value in trial.params.items() if name != TARGET}
                yield Known(origin, params, told.get("accuracy"), told.get("epochs"))


def _csv_rows(path: Path, space: SearchSpace) -> Iterator[Known]:
    """The rows of a CSV: one of our own tables, Optuna's `trials_dataframe()`, or hand-written.

    A hand-written one has columns for parameters, not necessarily all, and may have `accuracy`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"'{path}' is not a CSV: {error}") from None
    header = list(rows[0]) if rows else []
    columns = _columns(header, space, path)
    for number, row in enumerate(rows, start=2):  # the header is line 1
        if row.get("study", "search") != "search":
            continue
        if row.get("state", "complete").lower() != "complete":
            continue
        params = {name: row[column] for column, name in columns.items() if row[column]}
        told = row.get("accuracy") or row.get("user_attrs_accuracy")
        epochs = row.get("epochs") or row.get("user_attrs_epochs") or ""
        length = int(float(epochs)) if epochs.replace(".", "", 1).isdecimal() else None
        yield Known(f"{path.name}:{number}", params, _number(told, f"{path}:{number}"), length)


def _columns(header: list[str], space: SearchSpace, path: Path) -> dict[str, str]:
    """Which column holds which parameter."""
    parameters = space.parameters()
    prefixed = {name: name.removeprefix("params_") for name in header if name[:7] == "params_"}
    if prefixed:
        return prefixed
    if {"study", "architecture"} <= set(header):  # our table: sizes, not parameters
        if missing := sorted(parameters.keys() - set(header)):
            raise InputError(
                f"'{path}' has no column '{missing[0]}', a parameter of space '{space.name}'; "
                f"name the run's folder instead of its table"
            )
        return {name: name for name in parameters}
    return {name: name for name in header if name != "accuracy"}


def _checked(row: Known, space: SearchSpace, *, source: str) -> dict[str, Any]:
    """The row's parameters with the space's own values: a CSV holds text."""
    parameters = space.parameters()
    params = {}
    for name, value in row.params.items():
        if name not in parameters:
            raise InputError(
                f"{source}: {row.origin} has '{name}', which is no parameter of space "
                f"'{space.name}'; "
                f"{suggest(name, parameters, printed_by='scaler show SPACE')}"
            )
        fitting = [option for option in parameters[name] if _equal(option, value)]
        if not fitting:
            known = ", ".join(str(option) for option in parameters[name])
            raise InputError(
                f"{source}: {row.origin} has {name} = {value}, but space '{space.name}' has {known}"
            )
        params[name] = fitting[0]
    return params


def _equal(option: object, value: object) -> bool:
    if str(option) == str(value):
        return True
    try:
        return float(str(option)) == float(str(value))
    except ValueError:
        return False


def _number(text: str | None, place: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{place}: accuracy must be a number, but got {text!r}") from None


def _check_result(row: Known, space: SearchSpace, *, source: str) -> None:
    if row.accuracy is None or not (math.isfinite(row.accuracy) and 0 <= row.accuracy <= 1):
        raise InputError(
            f"{source}: {row.origin} has accuracy {row.accuracy}, but to tell it, or to take the "
            f"best, it must lie in 0 to 1; give a column 'accuracy' or enqueue without `top`"
        )
    try:
        _suggest(row, space)
    except ValueError as error:  # FixedTrial's message for a missing parameter
        reason = str(error).split(". ")[0]
        raise InputError(f"{source}: {row.origin}: {reason}; give all parameters") from None


def _suggest(row: Known, space: SearchSpace) -> tuple[optuna.trial.FixedTrial, Any, dict[str, Any]]:
    trial = optuna.trial.FixedTrial(row.params)
    return trial, space.suggest(trial), space.suggest_training(trial)


def _as_trial(row: Known, space: SearchSpace, session: Session) -> FrozenTrial:
    """The row as a trial of this search."""
    asked, architecture, training = _suggest(row, space)
    pricing = Pricing(session.config.search, **session.sizes)
    cost = pricing.cost(architecture)
    latency = pricing.latency(architecture, cost)
    candidate = Candidate(
        architecture=architecture,
        cost=cost,
        seed=session.config.seed,
        suggestion=0,
        reward_factor=pricing.factor(pricing.price(cost, latency)),
        attributes={"origin": row.origin},
        params=asked.params,
        distributions=asked.distributions,
        training=training,
    )
    return Trial(candidate).ended("complete", row.accuracy).frozen(**session.sizes)


def _best(known: list[Known], top: int, space: SearchSpace, session: Session) -> list[Known]:
    """The `top` by the reward that they would have here."""
    rewards = {row.origin: _as_trial(row, space, session).value or 0.0 for row in known}
    return sorted(known, key=lambda row: -rewards[row.origin])[:top]
