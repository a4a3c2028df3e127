"""A study's SQLite file: opened, checked, backed up, copied into memory for a reader."""

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy import Engine, MetaData
from sqlalchemy.pool import QueuePool, StaticPool

from experiments.config.files import replace_file
from experiments.store.optuna_tables import create_tables
from search_spaces.records import InputError

PATIENCE = 60  # seconds for which a connection waits for another one's lock on the file
OWNER_ONLY = 0o600  # permissions: a study has its user's words and machines in it
# All else that SQLite may say (locked, read-only, not permitted, disk full) leaves a study sound.
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def open_sqlite(path: Path, *, tables: MetaData) -> RDBStorage:
    """Optuna's storage in the file, with further `tables`; made where nothing has begun.

    A damaged study is never silently begun anew: raises InputError for one, for one of which only
    the backup is there, and for a file that cannot be opened or made just now.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    whole = path.absolute()  # the working directory may change
    try:
        _check(path)
    except sqlite3.Error as error:
        raise _not_now(path, error) from None
    try:
        if not path.exists():
            _make(path, tables)
    except OSError as error:
        raise InputError(
            f"cannot open the study '{path}': {error.strerror}; name a folder that can be written "
            f"to and has room"
        ) from None
    try:
        # Write-ahead logging: a commit is one append, and readers do not wait for the writer.
        with closing(_connected(whole)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        # A URL with the path in it would end at a `?`.
        options = {"creator": partial(_connected, whole), "poolclass": QueuePool}
        storage = RDBStorage("sqlite://", engine_kwargs=options)
        tables.create_all(storage.engine)  # an earlier version's study has fewer
    except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, OSError, RuntimeError) as error:
        raise _not_now(path, error) from None
    return storage


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False)
    connection.execute("PRAGMA synchronous=NORMAL")  # with WAL, safe against any kill
    return connection


def _make(path: Path, tables: MetaData) -> None:
    """The file appears whole: a kill before that leaves none. Raises OSError."""
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    options = {"creator": lambda: memory, "poolclass": StaticPool}
    storage = RDBStorage("sqlite://", engine_kwargs=options)
    tables.create_all(storage.engine)
    with closing(memory):
        content = memory.serialize()
    replace_file(path, lambda file: file.write(content), permissions=OWNER_ONLY)


def _not_now(path: Path, error: Exception) -> InputError:
    reason = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
    return InputError(
        f"the study '{path}' cannot be opened just now: {reason}; the study is untouched: see who "
        f"else uses it, whether you may read and write there, and whether the disk has room"
    )


def open_copy(path: Path) -> Engine:
    """The file as it stands now, in memory; empty tables where it is not there yet.

    Nothing is made or changed in the file's folder: a search may write on meanwhile, and the folder
    may be read-only. Raises InputError for a file that is damaged or cannot be read just now.
    """
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    engine = sqlalchemy.create_engine("sqlite://", creator=lambda: memory, poolclass=StaticPool)
    if not path.exists():
        create_tables(engine)
        return engine
    try:
        problem = _told_of_damage(lambda: _copied(path, memory))
    except (sqlite3.Error, OSError) as error:
        memory.close()
        raise _not_now(path, error) from None
    if problem:
        memory.close()
        raise InputError(
            f"cannot read the study '{path}': {problem}; put an undamaged copy in its place"
        )
    return engine


def back_up(path: Path) -> None:
    """Copy the file as it stands to study.db.bak, which is the old copy or the new one.

    Raises sqlite3.Error or OSError, as where the disk is full; the old copy is then still there.
    """
    new = path.with_name(f".{path.name}.bak.tmp")
    new.unlink(missing_ok=True)
    try:
        os.close(os.open(new, os.O_CREAT | os.O_EXCL, stat.S_IMODE(path.stat().st_mode)))
        with (
            closing(sqlite3.connect(path, timeout=PATIENCE)) as source,
            closing(sqlite3.connect(new)) as copy,
        ):
            source.backup(copy)
        with open(new, "rb") as file:
            os.fsync(file.fileno())
        os.replace(new, backup_of(path))
    finally:
        new.unlink(missing_ok=True)


def backup_of(path: Path) -> Path:
    """Where the backup of a study's file is."""
    return path.with_name(f"{path.name}.bak")


def _check(path: Path) -> None:
    """Raises InputError for a study that is damaged or gone, sqlite3.Error where nobody can say."""
    problem, backup = "", backup_of(path)
    if not path.exists():
        problem = "it is gone" if backup.exists() else ""
    elif not path.stat().st_size:
        problem = "it is empty"
    else:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as connection:
            problem = _told_of_damage(lambda: _damage(connection))
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


def _told_of_damage(look: Callable[[], str]) -> str:
    """What `look` finds wrong, or SQLite's words where it stumbles over damage.

    Raises sqlite3.Error for whatever else keeps a file from being read.
    """
    try:
        return look()
    except sqlite3.Error as error:
        # The low byte is the kind; an error of the sqlite3 module's own has no code.
        if (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _DAMAGE:
            return str(error)
        raise


def _damage(connection: sqlite3.Connection) -> str:
    """What is wrong with a file as a study; an empty string where it is sound."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    if verdict != "ok":
        return str(verdict).replace("\n", " ")
    return "" if ("trials",) in tables else "it holds no Optuna study"


def _copied(path: Path, memory: sqlite3.Connection) -> str:
    _copy(path, memory)
    return _damage(memory)


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
