"""The runs made by hand, which the report's tests use too, and a PostgreSQL server."""

import pytest

from tests.experiments.report.conftest import (  # noqa: F401
    begin_run,
    blank,
    done,
    make_sample,
    repeated,
    run,
    sampled,
    searched,
    shelf,
)
from tests.postgres_server import binaries, free_port, running


@pytest.fixture(scope="module")
def server():
    programs = binaries()
    if programs is None:
        pytest.skip("this machine has no PostgreSQL server (no initdb)")
    with running(programs, free_port()) as started:
        yield started
