"""Who drives a run whose store is a shared database: one driver alone, or several together.

PostgreSQL's advisory locks say who is there: they end with their connection, so a killed driver
holds none. Several drivers share a study's trials by claims, a row a network: whoever writes the
row trains the network. What a dead driver has claimed and not ended is given back.
"""

import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from experiments.studies.database import TABLES, lock_key, patiently
from search_spaces.records import InputError

_TABLE = """
CREATE TABLE IF NOT EXISTS scaler_claims (
    study text, key text, driver bigint NOT NULL, ended boolean NOT NULL,
    PRIMARY KEY (study, key)
)
"""


class Claim(Enum):
    OURS = "ours"  # train it
    TAKEN = "taken"  # another driver has or had this network
    FULL = "full"  # every trial that was asked for is claimed


@dataclass(frozen=True)
class Others:
    running: int  # networks that other drivers still train
    given_back: tuple[str, ...]  # keys of those that a dead driver had claimed


class Drivers:
    """This driver among those of the run `name`."""

    def __init__(self, engine: Engine, name: str, *, mode: Literal["one", "many"]) -> None:
        self.many = mode == "many"
        self._engine = engine
        self._name = name
        self._run_key = lock_key("run", name)
        self._driver = secrets.randbits(62)

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Raise InputError where another driver is there and both will not share."""
        if self._engine.dialect.name != "postgresql":
            self._without_locks()
            yield
            return
        self._held = self._take_locks()
        try:
            if self.many:
                with self._engine.begin() as connection:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": TABLES})
                    connection.execute(text(_TABLE))
            yield
        finally:
            with suppress(SQLAlchemyError):  # a lost connection has lost its locks
                self._held.execute(text("SELECT pg_advisory_unlock_all()"))
            self._held.close()

    def stay(self) -> None:
        """Take the locks again if the connection that held them is lost, as in a restart.

        Raises InputError where another driver was quicker.
        """
        try:
            self._held.execute(text("SELECT 1"))
        except DBAPIError:
            self._held.close()
            self._held = patiently(self._take_locks, done=lambda: None)

    def _take_locks(self) -> Connection:
        held = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        shared = "_shared" if self.many else ""
        alone = _ask(held, f"SELECT pg_try_advisory_lock{shared}(:key)", key=self._run_key)
        if not alone:
            held.close()
            raise InputError(
                f"the run '{self._name}' is driven by another command, in the same database; "
                f"wait for it, or set cluster.drivers: many for both of them"
            )
        if self.many:
            _ask(held, "SELECT pg_try_advisory_lock(:key)", key=self._driver)
        return held

    def claim(self, study: str, key: str, *, limit: int) -> Claim:
        """Take a network, if it is nobody's and fewer than `limit` are claimed; one transaction."""
        with self._engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._lock()})
            count = "SELECT count(*) FROM scaler_claims WHERE study = :study"
            if _ask(connection, count, study=study) >= limit:
                return Claim.FULL
            row = {"study": study, "key": key, "driver": self._driver, "ended": False}
            made = connection.execute(text(_INSERT + "DO NOTHING"), row)
            return Claim.OURS if made.rowcount else Claim.TAKEN

    def ended(self, study: str, keys: Iterable[str]) -> None:
        """These networks stand in the study: no driver trains them, none gives them back."""
        rows = [{"study": study, "key": k, "driver": self._driver, "ended": True} for k in keys]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(text(_INSERT + "DO UPDATE SET ended = true"), rows)

    def others(self, study: str) -> "Others":
        """What other drivers train, after giving back what those had that are gone."""
        where = "WHERE study = :study AND NOT ended AND driver <> :own"
        own = {"study": study, "own": self._driver}
        given_back: list[str] = []
        with self._engine.begin() as connection:
            listed = f"SELECT DISTINCT driver FROM scaler_claims {where}"
            for (driver,) in connection.execute(text(listed), own).all():
                # Whoever gets a driver's own lock knows that the driver has gone.
                if _ask(connection, "SELECT pg_try_advisory_xact_lock(:key)", key=driver):
                    gone = f"DELETE FROM scaler_claims {where} AND driver = :driver RETURNING key"
                    given_back += connection.execute(
                        text(gone), {**own, "driver": driver}
                    ).scalars()
            running = _ask(connection, f"SELECT count(*) FROM scaler_claims {where}", **own)
        return Others(running=int(running), given_back=tuple(given_back))

    def _lock(self) -> int:
        return lock_key("claims", self._name)

    def _without_locks(self) -> None:
        name = self._engine.dialect.name
        if self.many:
            raise InputError(
                f"cluster.drivers: many needs PostgreSQL, but cluster.storage is {name}; "
                f"set it to one"
            )
        print(
            f"warning: a {name} database keeps no lock on the run '{self._name}': "
            f"start no second driver on it",
            file=sys.stderr,
            flush=True,
        )


_INSERT = (
    "INSERT INTO scaler_claims VALUES (:study, :key, :driver, :ended) ON CONFLICT (study, key) "
)


def _ask(connection: Connection, query: str, **values: Any) -> Any:
    return connection.execute(text(query), values).scalar_one()
