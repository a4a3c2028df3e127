"""The one durable store of a run: Optuna's storage, a SQLite file or any database URL.

A trial that ends is written whole, in one transaction which also closes it in the table of open
trials. So a finished trial survives any kill, none is there twice, and one that was running is
known to the next driver. `Studies` reads, `Store` writes too.
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial
from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from experiments.config.messages import WorkFailed, warn
from experiments.config.run_folder import RunFolder
from experiments.config.storage_url import masked
from experiments.store.database import at_once, first_line, open_database, patiently
from experiments.store.optuna_tables import (
    TrialRow,
    begun_studies,
    read_notes,
    read_rows,
    read_trials,
    study_id,
    write_trial,
)
from experiments.store.sqlite_file import back_up, open_copy, open_sqlite
from experiments.store.trial import Trial

STUDIES = ("search", "warm_start", "confirmation", "known", "coefficients", "family", "comparison")

# Beside Optuna's own tables, which know nothing of it: what has begun and not ended.
_OPEN = Table(
    "scaler_open_trials",
    MetaData(),
    Column("study", String(512), primary_key=True),
    Column("suggestion", Integer, primary_key=True, autoincrement=False),
    Column("record", Text, nullable=False),
)
BACKUP_PERIOD = 60.0  # seconds at least; longer where a backup takes more than 2 % of that


class Studies:
    """The studies of one run, by the names in STUDIES, for reading."""

    def __init__(self, engine: Engine, *, prefix: str = "") -> None:
        self.engine = engine
        self._prefix = prefix  # of the run's name, where a database holds several runs

    def trials(self, name: str) -> list[FrozenTrial]:
        """All trials of a study, in the order in which they ended; none if it has not begun."""
        with self.engine.connect() as connection:
            number = study_id(connection, self._prefix + name)
            return [] if number is None else read_trials(connection, number)

    def rows(self, name: str) -> list[TrialRow]:
        """All that a table of the trials needs, in a tenth of the time of `trials`."""
        with self.engine.connect() as connection:
            number = study_id(connection, self._prefix + name)
            return [] if number is None else read_rows(connection, number)

    def notes(self, name: str) -> dict[str, Any]:
        """What `Store.note` kept of a study as a whole."""
        with self.engine.connect() as connection:
            number = study_id(connection, self._prefix + name)
            return {} if number is None else read_notes(connection, number)


class Store(Studies):
    """The studies of one run, for reading and writing."""

    def __init__(self, path: Path, *, database: str | None = None, run: str = "") -> None:
        """Open or create the SQLite file, or else the run called `run` in the database at a URL.

        Raises InputError if the file is damaged or only its backup is there, or the database cannot
        be reached.
        """
        self.path = path
        self.shown = str(path) if database is None else masked(database)
        self._file = database is None
        if database is not None:
            self._storage = open_database(database, tables=_OPEN.metadata)
        else:
            self._storage = open_sqlite(path, tables=_OPEN.metadata)
        super().__init__(self._storage.engine, prefix="" if database is None else f"{run}.")
        self._patiently = at_once if database is None else patiently
        self._ids: dict[str, int] = {}
        self._next_backup = time.monotonic() + BACKUP_PERIOD

    @classmethod
    def of(cls, folder: RunFolder) -> "Store":
        """The store that the config of a run's folder names."""
        config = folder.config
        return cls(folder.study, database=config.cluster.storage, run=config.name)

    def study(self, name: str) -> optuna.Study:
        """Optuna's study of that name, to be maximised; made if it is not there yet."""
        return optuna.create_study(
            storage=self._storage,
            study_name=self._prefix + name,
            direction="maximize",
            load_if_exists=True,
        )

    def record(self, name: str, trial: FrozenTrial, *, suggestion: int | None = None) -> None:
        """Append a finished trial; the open one of that `suggestion` is closed with it."""
        number = self._id(name)

        def write() -> bool:
            with self.engine.begin() as connection:
                if suggestion is not None:
                    connection.execute(delete(_OPEN).where(self._is(name, suggestion)))
                write_trial(connection, number, trial)
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

    def begun(self) -> set[str]:
        """The studies that hold at least one trial, ended or open."""
        with self.engine.connect() as connection:
            begun = begun_studies(connection)
            begun |= set(connection.execute(select(_OPEN.c.study).distinct()).scalars())
        return {name for name in STUDIES if self._prefix + name in begun}

    def back_up(self) -> None:
        """Copy the file to its backup; the next time is not before a minute has gone.

        A backup that cannot be made, as on a full disk, is a warning: the trials are in the study.
        """
        began = time.monotonic()
        try:
            back_up(self.path)
        except (sqlite3.Error, OSError) as error:
            warn(f"cannot back up '{self.path}': {first_line(error)}; the study itself is sound")
        took = time.monotonic() - began
        self._next_backup = time.monotonic() + max(BACKUP_PERIOD, 50 * took)

    def finish(self) -> None:
        """Leave one file and its backup behind, without a log beside it."""
        try:
            if self._file and self.begun():
                self.back_up()
        except SQLAlchemyError as error:
            warn(f"cannot read '{self.path}' for its backup: {first_line(error)}")
        self.engine.dispose()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Raise WorkFailed for what the store could not do inside."""
        try:
            yield
        except (SQLAlchemyError, StorageInternalError, sqlite3.Error) as error:
            raise WorkFailed(self.trouble(error)) from error

    def trouble(self, error: BaseException) -> str:
        """What to tell where the store could not keep a trial or a note of one."""
        return (
            f"cannot record a trial in '{self.shown}': {first_line(error)}; every finished trial "
            f"is kept, the same command goes on"
        )

    def _id(self, name: str) -> int:
        """The key of a study, which is made if it is not there yet."""
        if name not in self._ids:
            self.study(name)
            with self.engine.connect() as connection:
                found = study_id(connection, self._prefix + name)
            assert found is not None
            self._ids[name] = found
        return self._ids[name]

    def _is(self, study: str, suggestion: int | None) -> ColumnElement[bool]:
        return (_OPEN.c.study == self._prefix + study) & (_OPEN.c.suggestion == suggestion)


@contextmanager
def reading(folder: RunFolder) -> Iterator[Studies]:
    """A run's studies as they stand now, wherever its store is; a run's file is never touched.

    Raises InputError for a file that is damaged, and for a database that cannot be reached.
    """
    storage = folder.config.cluster.storage
    if storage is not None:
        studies: Studies = Store(folder.study, database=storage, run=folder.config.name)
    else:
        studies = Studies(open_copy(folder.study))
    try:
        yield studies
    finally:
        studies.engine.dispose()
