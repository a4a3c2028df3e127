"""A run's store in a database of the user's, by its URL; a password in it is never shown or kept.

Optuna's tables hold the trials. The studies of a run carry its name (`NAME.search`), so that many
runs share one database.
"""

import hashlib
import time
from collections.abc import Callable
from typing import TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import MetaData
from sqlalchemy.engine import URL

from experiments.config.storage_url import HIDDEN, VARIABLE, full_url, masked, secrets
from search_spaces.records import InputError

PATIENCE = 60.0  # seconds that a database may be away, as in a restart
_KEYS = 2**63

Result = TypeVar("Result")


def lock_key(*parts: str) -> int:
    """A number for PostgreSQL's advisory locks, the same in every process."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") % _KEYS


TABLES = lock_key("tables")  # held while tables are made


def open_database(storage: str, *, tables: MetaData | None = None) -> RDBStorage:
    """Optuna's storage there; its tables, and further ones, are made where the database has none.

    Raises InputError for one that cannot be reached, in seconds.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = full_url(storage)
    postgres = url.get_backend_name() == "postgresql"
    arguments = {"connect_timeout": 10, "keepalives_idle": 30} if postgres else {}
    options = {"pool_pre_ping": True, "connect_args": arguments}
    try:
        engine = sqlalchemy.create_engine(url, connect_args=arguments)
        with engine.begin() as connection:
            if postgres:  # two commands that begin at once would both make the tables
                lock = sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)")
                connection.execute(lock, {"key": TABLES})
            opened = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options)
            if tables is not None:
                tables.create_all(opened.engine)
            return opened
    except (ImportError, sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
        raise InputError(_unreachable(url, error)) from None


def at_once(
    work: Callable[[], Result],
    *,
    done: Callable[[], Result | None] = lambda: None,  # noqa: ARG001
) -> Result:
    """`work()`, for a store that cannot be away; in the place of `patiently`."""
    return work()


def patiently(
    work: Callable[[], Result], *, done: Callable[[], Result | None] = lambda: None
) -> Result:
    """`work()`, tried again while the database is away, for a minute.

    A try whose answer was lost may have been carried out: `done` says what came of it, or None.
    Raises ConnectionError where it stays away.
    """
    deadline = time.monotonic() + PATIENCE
    pause = 0.5
    while True:
        try:
            return work()
        except (StorageInternalError, sqlalchemy.exc.OperationalError) as error:
            if time.monotonic() + pause > deadline:
                raise ConnectionError(f"the database is away: {first_line(error)}") from None
        time.sleep(pause)
        pause *= 2
        try:
            if (result := done()) is not None:
                return result
        except (StorageInternalError, sqlalchemy.exc.OperationalError):
            continue


def _unreachable(url: URL, error: Exception) -> str:
    shown = masked(url.render_as_string(hide_password=False))
    if isinstance(error, ImportError | sqlalchemy.exc.NoSuchModuleError):
        return (
            f"no driver is installed for the database '{shown}'; for PostgreSQL: "
            f"pip install 'scaler-nas[postgres]' and a URL that starts with postgresql+psycopg://"
        )
    reason = first_line(error)
    for secret in secrets(url):
        reason = reason.replace(secret, HIDDEN)
    return (
        f"cannot use the database '{shown}': {reason}; check cluster.storage, and its password in "
        f"{VARIABLE}, PGPASSWORD or ~/.pgpass"
    )


def first_line(error: BaseException) -> str:
    """The database's own words, which SQLAlchemy and Optuna wrap."""
    error = (
        error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    )
    told = str(getattr(error, "orig", None) or error).strip().splitlines()
    return told[0].strip() if told else type(error).__name__
