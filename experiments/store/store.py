"""The one durable store of a run: Optuna's storage, a SQLite file or any database URL.

A trial that ends is written whole, in one transaction which also closes it in the table of open
trials. So a finished trial survives any kill, none is there twice, and one that was running is
known to the next driver.
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy import Column, Integer, MetaData, String, Table, Text, delete, insert, select

from experiments.config.run_folder import RunFolder
from experiments.config.storage_url import masked
from experiments.store.database import at_once, open_database, patiently
from experiments.store.optuna_tables import read_trials, to_utc, write_trial
from experiments.store.trial import Trial
from search_spaces.records import InputError

STUDIES = ("search", "warm_start", "confirmation", "coefficients", "family", "comparison")

# Beside Optuna's own tables, which know nothing of it: what has begun and not ended.
_OPEN = Table(
    "scaler_open_trials",
    MetaData(),
    Column("study", String(512), primary_key=True),
    Column("suggestion", Integer, primary_key=True, autoincrement=False),
    Column("record", Text, nullable=False),
)


BACKUP_PERIOD = 60.0  # seconds at least; longer where a backup takes more than 2 % of that


class TrialRow(NamedTuple):
    """A trial as the tables need it."""

    number: int
    state: str  # Optuna's name, as COMPLETE
    ended: str | None  # UTC
    attributes: dict[str, Any]


class Store:
    """The studies of one run, by the names in STUDIES."""

    def __init__(self, path: Path, *, database: str | None = None, run: str = "") -> None:
        """Open or create the SQLite file, or else the run called `run` in the database at a URL.

        Raises InputError if the file is damaged or only its backup is there, or the database cannot
        be reached.
        """
        self.path = path
        self.shown = str(path) if database is None else masked(database)
        self._file = database is None
        self._prefix = "" if database is None else f"{run}."
        if database is not None:
            self._storage = open_database(database, tables=_OPEN.metadata)
        else:
            _check_sqlite(path)
            self._storage = _open_sqlite(path)
            _OPEN.create(self._storage.engine, checkfirst=True)
        self.engine = self._storage.engine
        self._patiently = at_once if database is None else patiently
        self._studies: dict[str, optuna.Study] = {}
        self._next_backup = time.monotonic() + BACKUP_PERIOD

    @classmethod
    def of(cls, folder: RunFolder) -> "Store":
        """The store that the config of a run's folder names."""
        config = folder.config
        return cls(folder.study, database=config.cluster.storage, run=config.name)

    def study(self, name: str) -> optuna.Study:
        """A study to be maximised; made if it is not there yet."""
        if name not in self._studies:
            self._studies[name] = optuna.create_study(
                storage=self._storage,
                study_name=self._prefix + name,
                direction="maximize",
                load_if_exists=True,
            )
        return self._studies[name]

    def trials(self, name: str) -> list[FrozenTrial]:
        """All trials of a study, in the order in which they ended; none if it has not begun."""
        if not self._has(name):
            return []
        with self.engine.connect() as connection:
            return read_trials(connection, self.study(name)._study_id)

    def rows(self, name: str) -> Iterator[TrialRow]:
        """All that a table of the trials needs, as `Snapshot` gives it."""
        for trial in self.trials(name):
            ended = to_utc(trial.datetime_complete)
            text = None if ended is None else ended.isoformat(sep=" ")
            yield TrialRow(trial.number, trial.state.name, text, trial.user_attrs)

    def record(self, name: str, trial: FrozenTrial, *, suggestion: int | None = None) -> None:
        """Append a finished trial; the open one of that `suggestion` is closed with it."""
        study_id = self.study(name)._study_id

        def write() -> bool:
            with self.engine.begin() as connection:
                if suggestion is not None:
                    connection.execute(delete(_OPEN).where(self._is(name, suggestion)))
                write_trial(connection, study_id, trial)
            return True

        def written() -> bool | None:
            """The one transaction has closed the open trial, or nothing has happened."""
            with self.engine.connect() as connection:
                row = connection.execute(select(_OPEN).where(self._is(name, suggestion))).first()
            return True if suggestion is not None and row is None else None

        self._patiently(write, done=written)
        if self._file and time.monotonic() > self._next_backup:
            self.back_up()

    def open(self, name: str, trial: Trial) -> None:
        """Keep how far a running trial has come."""
        suggestion = trial.candidate.suggestion
        record = json.dumps(trial.to_record())
        row = {"study": self._prefix + name, "suggestion": suggestion, "record": record}

        def write() -> None:
            with self.engine.begin() as connection:
                connection.execute(delete(_OPEN).where(self._is(name, suggestion)))
                connection.execute(insert(_OPEN).values(row))

        self._patiently(write)

    def opened(self, name: str) -> list[Trial]:
        """What an earlier driver left running, in the order in which it was handed out."""
        of_study = _OPEN.c.study == self._prefix + name
        query = select(_OPEN.c.record).where(of_study).order_by(_OPEN.c.suggestion)
        with self.engine.connect() as connection:
            records = connection.execute(query).scalars().all()
        return [Trial.from_record(json.loads(record)) for record in records]

    def close(self, name: str, trial: Trial) -> None:
        """Forget an open trial that nobody wants any more."""
        with self.engine.begin() as connection:
            connection.execute(delete(_OPEN).where(self._is(name, trial.candidate.suggestion)))

    def note(self, name: str, key: str, value: Any) -> None:
        """Keep a figure of the study as a whole, as the count of candidates screened out."""
        self.study(name).set_user_attr(key, value)

    def notes(self, name: str) -> dict[str, Any]:
        return self.study(name).user_attrs if self._has(name) else {}

    def begun(self) -> set[str]:
        """The studies that hold at least one trial, ended or open."""
        summaries = optuna.get_all_study_summaries(self._storage)
        ended = {study.study_name for study in summaries if study.n_trials}
        with self.engine.connect() as connection:
            begun = ended | set(connection.execute(select(_OPEN.c.study).distinct()).scalars())
        return {name for name in STUDIES if self._prefix + name in begun}

    def back_up(self) -> None:
        """Copy the file as it stands to study.db.bak, which is the old copy or the new one."""
        began = time.monotonic()
        new = self.path.with_name(f".{self.path.name}.bak.tmp")
        new.unlink(missing_ok=True)
        source, copy = sqlite3.connect(self.path, timeout=60), sqlite3.connect(new)
        try:
            source.backup(copy)
        finally:
            source.close()
            copy.close()
        with open(new, "rb") as file:
            os.fsync(file.fileno())
        os.replace(new, backup_of(self.path))
        took = time.monotonic() - began
        self._next_backup = time.monotonic() + max(BACKUP_PERIOD, 50 * took)

    def finish(self) -> None:
        """Leave one file and its backup behind, without a log beside it."""
        if self._file and self.begun():
            self.back_up()
        self.engine.dispose()

    def _has(self, name: str) -> bool:
        names = {study.study_name for study in self._storage.get_all_studies()}
        return self._prefix + name in names

    def _is(self, study: str, suggestion: int | None) -> sqlalchemy.ColumnElement[bool]:
        return (_OPEN.c.study == self._prefix + study) & (_OPEN.c.suggestion == suggestion)


def backup_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.bak")


def _open_sqlite(path: Path) -> RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        # Write-ahead logging: a commit is one append, and readers do not wait for the writer.
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})
    except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        raise InputError(
            f"cannot open the study '{path}': {error}; name a folder that can be written to"
        ) from None

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")  # with WAL, safe against any kill

    storage.engine.dispose()  # the connections made before the listener
    return storage


def _check_sqlite(path: Path) -> None:
    """A damaged study is never silently begun anew."""
    backup = backup_of(path)
    problem = "it is empty"
    if not path.exists():
        if not backup.exists():
            return  # nothing has begun
        problem = "it is gone"
    elif path.stat().st_size:
        problem = _damage(path)
    if problem:
        raise InputError(
            f"the study '{path}' is damaged: {problem}; {_way_out(path)}, or start a new run folder"
        )


def _damage(path: Path) -> str:
    """What is wrong with a SQLite file as a study; an empty string where it is sound."""
    try:
        with sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=60) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        return str(error)
    if verdict != "ok":
        return str(verdict).replace("\n", " ")
    return "" if ("trials",) in tables else "it holds no Optuna study"


def _way_out(path: Path) -> str:
    """How to get the study back; an old log would be taken for a part of the copy."""
    backup, logs = backup_of(path), f"'{path}-wal' and '{path}-shm'"
    if not backup.exists():
        return f"there is no backup '{backup}' yet; put a copy of your own back without {logs}"
    return f"put its backup '{backup}' in its place and remove {logs}"
