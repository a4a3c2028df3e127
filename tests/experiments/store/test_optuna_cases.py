"""Optuna's public test cases of a storage, run with both of ours."""

import pytest
from sqlalchemy import MetaData

from experiments.store.database import open_database
from experiments.store.sqlite_file import open_sqlite

cases = pytest.importorskip("optuna.testing.pytest_storages", reason="Optuna before 5 has none")

pytestmark = pytest.mark.slow  # each case makes tables of its own: one minute for either store


class TestFile(cases.StorageTestCase):
    """Optuna's cases for a study's SQLite file."""

    @pytest.fixture
    def storage(self, tmp_path):
        opened = open_sqlite(tmp_path / "study.db", tables=MetaData())
        yield opened
        opened.engine.dispose()


class TestDatabase(cases.StorageTestCase):
    """Optuna's cases for a study in PostgreSQL."""

    @pytest.fixture
    def storage(self, server, request):
        opened = open_database(
            server.database(f"optuna_{abs(hash(request.node.name))}"), tables=MetaData()
        )
        yield opened
        opened.engine.dispose()
