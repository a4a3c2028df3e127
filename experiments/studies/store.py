"""The one durable store of a run: Optuna's storage, a SQLite file or any database URL.

A trial is written whole when it ends, in one call; what runs is in nobody's store. So a finished
trial survives any kill, and a killed one leaves nothing half-written.
"""

import sqlite3
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from search_spaces.records import InputError

STUDIES = ("search", "warm_start", "confirmation", "coefficients", "family", "comparison")


class Store:
    """The studies of one run, by the names in STUDIES."""

    def __init__(self, path: Path) -> None:
        """Open or create the SQLite file. Raises InputError if it is there and damaged."""
        self.path = path
        if path.exists():
            _check_sqlite(path)
        self._storage = _open_sqlite(path)
        self._studies: dict[str, optuna.Study] = {}

    def study(self, name: str) -> optuna.Study:
        """A study to be maximised; made if it is not there yet."""
        if name not in self._studies:
            self._studies[name] = optuna.create_study(
                storage=self._storage, study_name=name, direction="maximize", load_if_exists=True
            )
        return self._studies[name]

    def trials(self, name: str) -> list[FrozenTrial]:
        """All trials of a study, in the order in which they ended; none if it has not begun."""
        return self.study(name).get_trials(deepcopy=False) if self._has(name) else []

    def record(self, name: str, trial: FrozenTrial) -> None:
        self.study(name).add_trial(trial)

    def note(self, name: str, key: str, value: Any) -> None:
        """Keep a figure of the study as a whole, as the count of candidates screened out."""
        self.study(name).set_user_attr(key, value)

    def notes(self, name: str) -> dict[str, Any]:
        return self.study(name).user_attrs if self._has(name) else {}

    def begun(self) -> set[str]:
        """The studies that hold at least one trial."""
        summaries = optuna.get_all_study_summaries(self._storage)
        return {study.study_name for study in summaries if study.n_trials}

    def _has(self, name: str) -> bool:
        return name in {study.study_name for study in self._storage.get_all_studies()}


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
    problem = "it is empty" if path.stat().st_size == 0 else ""
    try:
        if not problem:
            with sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=60) as connection:
                (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
            if verdict != "ok":
                problem = str(verdict).replace("\n", " ")
            elif ("trials",) not in tables:
                problem = "it holds no Optuna study"
    except sqlite3.Error as error:
        problem = str(error)
    if problem:
        raise InputError(
            f"the study '{path}' is damaged: {problem}; "
            f"put a copy of it back, or start a new run folder"
        )
