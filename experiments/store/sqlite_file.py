"""A study's SQLite file: opened, checked, backed up, copied into memory for a reader."""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy import Engine
from sqlalchemy.pool import StaticPool

from experiments.store.optuna_tables import make_tables
from search_spaces.records import InputError

PATIENCE = 60  # seconds for which a connection waits for another one's lock on the file


def open_sqlite(path: Path) -> RDBStorage:
    """Optuna's storage in the file, which is made where nothing has begun.

    A damaged study is never silently begun anew: raises InputError for one, for one of which only
    the backup is there, and for a file that cannot be written to.
    """
    _check(path)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    wait = {"connect_args": {"timeout": PATIENCE}}
    try:
        # Write-ahead logging: a commit is one append, and readers do not wait for the writer.
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        storage = RDBStorage(f"sqlite:///{path}", engine_kwargs=wait)
    except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        raise InputError(
            f"cannot open the study '{path}': {error}; name a folder that can be written to"
        ) from None

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")  # with WAL, safe against any kill

    storage.engine.dispose()  # the connections made before the listener
    return storage


def open_copy(path: Path) -> Engine:
    """The file as it stands now, in memory; empty tables where it is not there yet.

    Nothing is made or changed in the file's folder: a search may write on meanwhile, and the folder
    may be read-only. Raises InputError for a file that is damaged or cannot be read.
    """
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    engine = sqlalchemy.create_engine("sqlite://", creator=lambda: memory, poolclass=StaticPool)
    if not path.exists():
        make_tables(engine)
        return engine
    try:
        _copy(path, memory)
        problem = _damage(memory)
    except (sqlite3.Error, OSError) as error:
        problem = str(error)
    if problem:
        memory.close()
        raise InputError(
            f"cannot read the study '{path}': {problem}; put an undamaged copy in its place"
        )
    return engine


def back_up(path: Path) -> None:
    """Copy the file as it stands to study.db.bak, which is the old copy or the new one."""
    new = path.with_name(f".{path.name}.bak.tmp")
    new.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(path, timeout=PATIENCE)) as source,
        closing(sqlite3.connect(new)) as copy,
    ):
        source.backup(copy)
    with open(new, "rb") as file:
        os.fsync(file.fileno())
    os.replace(new, backup_of(path))


def backup_of(path: Path) -> Path:
    """Where the backup of a study's file is."""
    return path.with_name(f"{path.name}.bak")


def _check(path: Path) -> None:
    problem, backup = "", backup_of(path)
    if not path.exists():
        problem = "it is gone" if backup.exists() else ""
    elif not path.stat().st_size:
        problem = "it is empty"
    else:
        try:
            uri = f"file:{path}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as connection:
                problem = _damage(connection)
        except sqlite3.Error as error:
            problem = str(error)
    if problem:
        logs = f"'{path}-wal' and '{path}-shm'"  # an old log would be taken for a part of the copy
        way_out = (
            f"put its backup '{backup}' in its place and remove {logs}"
            if backup.exists()
            else f"there is no backup '{backup}' yet; put a copy of your own back without {logs}"
        )
        raise InputError(
            f"the study '{path}' is damaged: {problem}; {way_out}, or start a new run folder"
        )


def _damage(connection: sqlite3.Connection) -> str:
    """What is wrong with a file as a study; an empty string where it is sound."""
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        return str(error)
    if verdict != "ok":
        return str(verdict).replace("\n", " ")
    return "" if ("trials",) in tables else "it holds no Optuna study"


def _copy(path: Path, memory: sqlite3.Connection) -> None:
    """One consistent copy.

    A reader of a write-ahead log (-wal) needs its index (-shm), which SQLite makes where it misses:
    so without a log the file is opened as one that nobody changes, and a log without its index, as
    in a copied folder, is read in a scratch folder.
    """
    log, index = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    if log.exists() and not index.exists():
        with tempfile.TemporaryDirectory(prefix="scaler-read-") as scratch:
            for file in (path, log):
                shutil.copyfile(file, Path(scratch) / file.name)
            _copy_as(Path(scratch) / path.name, "mode=rw", memory)
    elif log.exists():
        _copy_as(path, "mode=ro", memory)
    else:
        _copy_as(path, "mode=ro&immutable=1", memory)
        if log.exists():  # a search began to write while we read
            _copy_as(path, "mode=ro", memory)


def _copy_as(path: Path, mode: str, memory: sqlite3.Connection) -> None:
    uri = f"{path.absolute().as_uri()}?{mode}"
    with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as source:
        source.backup(memory)
