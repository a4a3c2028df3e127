"""A run's store as it stands now, copied into memory: looking at a run never touches it."""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.pool import StaticPool

from experiments.config.run_folder import RunFolder
from experiments.store.optuna_tables import read_trials
from experiments.store.store import Store, TrialRow
from search_spaces.records import InputError

_ATTRIBUTES = """
    SELECT number, state, datetime_complete, (
        SELECT group_concat(json_quote(key) || ':' || value_json)
        FROM trial_user_attributes WHERE trial_user_attributes.trial_id = trials.trial_id
    )
    FROM trials WHERE study_id = ? ORDER BY trial_id
"""


class Snapshot:
    """The studies in a store's file at one moment; empty where the file is not there yet.

    Nothing is made or changed in the file's folder: a search may write on meanwhile, and the folder
    may be read-only. Raises InputError for a file that is damaged or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._ids: dict[str, int] = {}
        self._memory = sqlite3.connect(":memory:", check_same_thread=False)
        if not path.exists():
            return
        problem = _copy(path, self._memory) or _damage(self._memory)
        if problem:
            self._memory.close()
            raise InputError(
                f"cannot read the study '{path}': {problem}; put an undamaged copy in its place"
            )
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        engine = {"creator": lambda: self._memory, "poolclass": StaticPool}
        self._storage = RDBStorage("sqlite://", engine_kwargs=engine)
        self._ids = {s.study_name: s._study_id for s in self._storage.get_all_studies()}

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.close()

    def trials(self, study: str) -> list[FrozenTrial]:
        """All trials of a study, in the order in which they ended; none if it has not begun."""
        if study not in self._ids:
            return []
        with self._storage.engine.connect() as connection:
            return read_trials(connection, self._ids[study])

    def rows(self, study: str) -> Iterator[TrialRow]:
        """All that a table of the trials needs.

        A row a trial and not one an attribute: reading takes a tenth of the time of `trials`.
        """
        if study not in self._ids:
            return
        rows = self._memory.execute(_ATTRIBUTES, (self._ids[study],))
        for number, state, ended, attributes in rows:
            yield TrialRow(number, state, ended, json.loads(f"{{{attributes or ''}}}"))

    def notes(self, study: str) -> dict[str, Any]:
        """What `Store.note` kept of a study as a whole."""
        return self._storage.get_study_user_attrs(self._ids[study]) if study in self._ids else {}


@contextmanager
def reading(folder: RunFolder) -> Iterator[Snapshot | Store]:
    """A run's studies for reading, wherever its store is."""
    if folder.config.cluster.storage is not None:
        yield Store.of(folder)
        return
    with Snapshot(folder.study) as snapshot:
        yield snapshot


def _copy(path: Path, memory: sqlite3.Connection) -> str:
    """One consistent copy; an empty string, or why there is none.

    A reader of a write-ahead log (-wal) needs its index (-shm), which SQLite makes where it misses:
    so without a log the file is opened as one that nobody changes, and a log without its index, as
    in a copied folder, is read in a scratch folder.
    """
    log, index = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    try:
        if log.exists() and not index.exists():
            with tempfile.TemporaryDirectory(prefix="scaler-read-") as scratch:
                for file in (path, log):
                    shutil.copyfile(file, Path(scratch) / file.name)
                _back_up(Path(scratch) / path.name, "mode=rw", memory)
        elif log.exists():
            _back_up(path, "mode=ro", memory)
        else:
            _back_up(path, "mode=ro&immutable=1", memory)
            if log.exists():  # a search began to write while we read
                _back_up(path, "mode=ro", memory)
    except (sqlite3.Error, OSError) as error:
        return str(error)
    return ""


def _back_up(path: Path, mode: str, memory: sqlite3.Connection) -> None:
    source = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=60)
    try:
        source.backup(memory)
    finally:
        source.close()


def _damage(memory: sqlite3.Connection) -> str:
    try:
        (verdict,) = memory.execute("PRAGMA quick_check(1)").fetchone()
        tables = memory.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        return str(error)
    if verdict != "ok":
        return str(verdict).replace("\n", " ")
    return "" if ("trials",) in tables else "it holds no Optuna study"
