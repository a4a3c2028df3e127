"""The lock of a run: one command drives it, and a second one is refused.

In the run's folder it is a lock on the file `.lock`. In a database, which several folders may name,
it is an advisory lock of PostgreSQL. Both end with the process that holds them, however it ends.
"""

import sys
from contextlib import ExitStack, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from experiments.config.files import locked
from experiments.store.database import lock_key, patiently
from search_spaces.records import InputError


class RunLock:
    """The lock of the run in `folder`, and of the run called `run` in the database of `engine`.

    Entering makes the folder. It raises InputError where another command drives the run, and where
    the folder cannot be written to.
    """

    def __init__(self, folder: Path, *, engine: Engine | None = None, run: str = "") -> None:
        self._folder = folder
        self._engine = engine
        self._run = run
        self._stack = ExitStack()
        self._held: Connection | None = None  # holds the database's lock as long as it is open

    def __enter__(self) -> "RunLock":
        with ExitStack() as stack:
            if self._engine is not None:
                self._take_in_database()
                stack.callback(self._release)
            stack.enter_context(locked(self._folder))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def check(self) -> None:
        """Take the database's lock again if its connection was lost, as in a restart.

        Raises InputError where another command was quicker.
        """
        if self._held is None:
            return
        try:
            self._held.execute(text("SELECT 1"))
        except DBAPIError:
            self._held.close()
            patiently(self._take_in_database)

    def _take_in_database(self) -> None:
        assert self._engine is not None
        name = self._engine.dialect.name
        if name != "postgresql":
            print(
                f"warning: a {name} database keeps no lock on the run '{self._run}': "
                f"start no second driver on it",
                file=sys.stderr,
                flush=True,
            )
            return
        held = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        query, key = text("SELECT pg_try_advisory_lock(:key)"), lock_key("run", self._run)
        if not held.execute(query, {"key": key}).scalar_one():
            held.close()
            raise InputError(
                f"the run '{self._run}' is driven by another command, in the same database; "
                f"wait for it, or give this run another name"
            )
        self._held = held

    def _release(self) -> None:
        if self._held is not None:
            with suppress(SQLAlchemyError):  # a lost connection has lost its lock
                self._held.execute(text("SELECT pg_advisory_unlock_all()"))
            self._held.close()
