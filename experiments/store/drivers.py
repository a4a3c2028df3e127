"""Who drives a run whose store is a shared database: one driver alone, or several together.

PostgreSQL's advisory locks say who is there: they end with their connection, so a killed driver
holds none. Several drivers share a study's trials by claims, a row a network: whoever writes the
row trains the network. What a dead driver has claimed and not ended goes to one that is there.
"""

import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, Literal

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from experiments.store.database import TABLES, lock_key, patiently
from search_spaces.records import InputError

_TABLE = """
CREATE TABLE IF NOT EXISTS scaler_claims (
    study text, key text, suggestion integer NOT NULL, driver bigint NOT NULL,
    ended boolean NOT NULL, PRIMARY KEY (study, key)
)
"""
_INSERT = (
    "INSERT INTO scaler_claims VALUES (:study, :key, :suggestion, :driver, :ended) "
    "ON CONFLICT (study, key) "
)
_OTHERS = "WHERE study = :study AND NOT ended AND driver <> :driver"


class Claim(Enum):
    """Why a network is not to be trained by this driver."""

    TAKEN = "another driver has or had it"
    FULL = "every trial that was asked for is claimed"


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

    def claim(self, study: str, key: str, *, limit: int) -> int | Claim:
        """Take a network if it is nobody's and fewer than `limit` are claimed; one transaction.

        Returns the number of the suggestion, which no other driver has.
        """
        own = self._own(study)
        with self._engine.begin() as connection:
            lock = {"key": lock_key("claims", self._name)}
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), lock)
            counted = "SELECT count(*), coalesce(max(suggestion) + 1, 0) FROM scaler_claims "
            count, free = connection.execute(text(counted + "WHERE study = :study"), own).one()
            if count >= limit:
                return Claim.FULL
            row = {**own, "key": key, "suggestion": free, "ended": False}
            made = connection.execute(text(_INSERT + "DO NOTHING"), row)
            return int(free) if made.rowcount else Claim.TAKEN

    def ended(self, study: str, suggestions: Mapping[str, int]) -> None:
        """These networks stand in the study: no driver trains them, none gives them back."""
        own = self._own(study)
        rows = [
            {**own, "key": key, "suggestion": number, "ended": True}
            for key, number in suggestions.items()
        ]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(text(_INSERT + "DO UPDATE SET ended = true"), rows)

    def take_over(self, study: str) -> dict[str, int]:
        """The networks that drivers had claimed and not ended which are gone; now they are ours."""
        own, taken = self._own(study), {}
        with self._engine.begin() as connection:
            listed = text(f"SELECT DISTINCT driver FROM scaler_claims {_OTHERS}")
            for (other,) in connection.execute(listed, own).all():
                # Whoever gets a driver's own lock knows that the driver has gone.
                if _ask(connection, "SELECT pg_try_advisory_xact_lock(:key)", key=other):
                    gone = f"UPDATE scaler_claims SET driver = :driver {_OTHERS} "
                    gone += "AND driver = :other RETURNING key, suggestion"
                    rows = connection.execute(text(gone), {**own, "other": other})
                    taken.update({row.key: row.suggestion for row in rows})
        return taken

    def give_back(self, study: str, keys: Iterable[str]) -> None:
        """Claims that came to nothing; anyone may draw the networks again."""
        rows = [{**self._own(study), "key": key} for key in keys]
        if rows:
            with self._engine.begin() as connection:
                mine = "WHERE study = :study AND key = :key AND driver = :driver"
                connection.execute(text(f"DELETE FROM scaler_claims {mine}"), rows)

    def running_elsewhere(self, study: str) -> int:
        with self._engine.begin() as connection:
            count = f"SELECT count(*) FROM scaler_claims {_OTHERS}"
            return int(_ask(connection, count, **self._own(study)))

    def _own(self, study: str) -> dict[str, Any]:
        return {"study": f"{self._name}.{study}", "driver": self._driver}

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


def _ask(connection: Connection, query: str, **values: Any) -> Any:
    return connection.execute(text(query), values).scalar_one()
