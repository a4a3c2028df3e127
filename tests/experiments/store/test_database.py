"""A run's store in PostgreSQL: the same study, one driver or several, no password left behind."""

import os
import signal
import subprocess
import sys
import threading
import time

import optuna
import pytest
import sqlalchemy

from experiments import load_trials, search
from experiments.config.schema import ClusterSection, SearchConfig
from experiments.config.storage_url import full_url, masked
from experiments.store.database import open_database
from experiments.store.drivers import Claim, Drivers
from experiments.store.store import Store
from experiments.store.trial import Candidate, Outcome, freeze
from scaler import Cost
from search_spaces import InputError
from tests.postgres_server import PASSWORD, binaries, free_port, running

SIZES = {"num_classes": 10, "in_channels": 1}


@pytest.fixture(scope="module")
def server():
    programs = binaries()
    if programs is None:
        pytest.skip("this machine has no PostgreSQL server (no initdb)")
    with running(programs, free_port()) as started:
        yield started


@pytest.fixture
def url(server, request):
    return server.database(request.node.name[:60])


@pytest.fixture
def trial(small):
    candidate = Candidate(small, Cost(100, 20, 30), seed=3, suggestion=0, reward_factor=0.5)
    return freeze(candidate, Outcome("complete", 0.8, curve=(0.4, 0.8), seconds=1.5))


@pytest.fixture
def shared(config, url):
    """The search of `config`, its store in the database."""
    return config.replace(cluster=ClusterSection(workers=1, storage=url))


def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
    report(1, architecture.stages[-1].channels / 100)
    return architecture.stages[-1].channels / 100


def transactions(store: Store) -> list[str]:
    """Every transaction that the store commits or ends from now on, as it happens."""
    ended: list[str] = []
    sqlalchemy.event.listen(store.engine, "commit", lambda _: ended.append("commit"))
    sqlalchemy.event.listen(store.engine, "rollback", lambda _: ended.append("rollback"))
    return ended


def test_what_is_stored_is_what_was_measured(tmp_path, url, trial):
    Store(tmp_path / "no.db", database=url, run="a").record("search", trial)
    (read,) = Store(tmp_path / "no.db", database=url, run="a").trials("search")
    assert (read.value, read.intermediate_values) == (0.4, {1: 0.2, 2: 0.4})
    assert read.user_attrs == trial.user_attrs
    plain = optuna.load_study(study_name="a.search", storage=url).trials
    assert [other.params for other in plain] == [trial.params]
    assert not (tmp_path / "no.db").exists()


def test_a_finished_trial_costs_at_most_two_transactions(tmp_path, url, trial):
    store = Store(tmp_path / "no.db", database=url, run="a")
    store.record("search", trial)
    ended = transactions(store)
    store.record("search", trial)
    assert 1 <= len(ended) <= 2


def test_runs_in_one_database_are_told_apart_by_their_names(tmp_path, url, trial):
    first = Store(tmp_path / "no.db", database=url, run="a")
    second = Store(tmp_path / "no.db", database=url, run="b")
    first.record("search", trial)
    second.record("family", trial)
    assert (first.begun(), second.begun()) == ({"search"}, {"family"})


def test_a_restart_of_the_server_loses_and_doubles_no_trial(tmp_path, server, url, trial):
    store = Store(tmp_path / "no.db", database=url, run="a")
    store.record("search", trial)
    server.stop()
    restart = threading.Timer(1.5, server.start)
    restart.start()
    store.record("search", trial)
    restart.join()
    assert len(store.trials("search")) == 2


def test_a_search_in_a_database_continues_and_is_reported_from_there(ray, shared):  # noqa: ARG001
    first = search(shared, evaluate=lambda *a, **k: evaluate(*a, **k), **SIZES)
    more = shared.replace(search=shared.search.replace(trials=15))
    second = search(more, evaluate=lambda *a, **k: evaluate(*a, **k), **SIZES).trials
    assert (len(first.trials), len(second)) == (12, 15)
    assert list(second.key[:12]) == list(first.trials.key)
    assert not (shared.run / "study.db").exists()


def test_no_password_stands_in_any_file_of_the_run(ray, shared, url, monkeypatch):  # noqa: ARG001
    monkeypatch.setattr(sys, "argv", ["scaler", "search", f"--storage={url}"])
    search(shared, evaluate=lambda *a, **k: evaluate(*a, **k), **SIZES)
    files = [path for path in shared.run.rglob("*") if path.is_file()]
    assert (shared.run / "config.yaml").read_text().count("scaler:***@") == 1
    assert all(PASSWORD.encode() not in path.read_bytes() for path in files)
    monkeypatch.setattr("experiments.config.storage_url._given", {})  # as in a new process
    with pytest.raises(InputError, match="password"):
        load_trials(shared.run)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert len(load_trials(shared.run)) == 12
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("SCALER_STORAGE", url)
    assert len(load_trials(shared.run)) == 12


def test_a_run_is_not_continued_in_another_store(ray, shared, config):  # noqa: ARG001
    search(shared, evaluate=lambda *a, **k: evaluate(*a, **k), **SIZES)
    with pytest.raises(InputError, match=r"has its trials in postgresql.*\*\*\*@"):
        search(config, evaluate=evaluate, **SIZES)


def test_another_run_of_the_same_name_is_refused(ray, shared, tmp_path):  # noqa: ARG001
    search(shared, evaluate=lambda *a, **k: evaluate(*a, **k), **SIZES)
    other = shared.replace(run=tmp_path / "b", search=shared.search.replace(epochs=2))
    with pytest.raises(InputError, match=r"\(run test\)' holds a run with search\.epochs = 3"):
        search(other, evaluate=evaluate, **SIZES)
    assert not (tmp_path / "b").exists()


def test_a_second_driver_is_refused_unless_both_share(url):
    engine = open_database(url).engine
    drivers = [Drivers(engine, "a", mode=mode) for mode in ("one", "one", "many", "many")]
    with drivers[0].joined():
        for other in drivers[1:3]:
            with pytest.raises(InputError, match="is driven by another command"), other.joined():
                pass
    with drivers[2].joined(), drivers[3].joined():
        with pytest.raises(InputError, match="driven by another"), drivers[0].joined():
            pass
        with Drivers(engine, "b", mode="one").joined():
            pass


def test_drivers_claim_each_network_once_up_to_the_limit(url):
    engine = open_database(url).engine
    a, b = (Drivers(engine, "a", mode="many") for _ in range(2))
    with a.joined(), b.joined():
        assert a.claim("search", "x", limit=2) == 0
        assert b.claim("search", "x", limit=2) is Claim.TAKEN
        assert b.claim("search", "y", limit=2) == 1
        assert a.claim("search", "z", limit=2) is Claim.FULL
        assert (a.running_elsewhere("search"), b.running_elsewhere("search")) == (1, 1)
        a.ended("search", {"x": 0})
        assert b.running_elsewhere("search") == 0
        assert b.take_over("search") == {}


def test_what_a_dead_driver_claimed_is_taken_over_but_not_what_it_ended(url):
    engine = open_database(url).engine
    dead, alive = (Drivers(engine, "a", mode="many") for _ in range(2))
    with alive.joined():
        with dead.joined():
            for key in ("ended", "running"):
                dead.claim("search", key, limit=2)
            dead.ended("search", {"ended": 0})
        assert alive.take_over("search") == {"running": 1}
        assert alive.claim("search", "ended", limit=3) is Claim.TAKEN
        alive.give_back("search", ["running", "ended"])
        assert alive.claim("search", "running", limit=2) == 1


# With how long to wait for their end: a server ends a connection some time after it is told to.
LOSE_LOCKS = "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'"


def test_a_driver_that_lost_its_locks_to_another_stops(server, url):
    engine = open_database(url).engine
    first, second = (Drivers(engine, "a", mode="one") for _ in range(2))
    with first.joined():
        server.sql(LOSE_LOCKS)
        first.stay()  # nobody else came: it takes them again
        server.sql(LOSE_LOCKS)
        with second.joined(), pytest.raises(InputError, match="driven by another"):
            first.stay()


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("postgresql+psycopg://u:pw@127.0.0.1:9/x", r"u:\*\*\*@127.0.0.1:9/x'.*refused"),
        ("nonsense", r"cluster\.storage: is no database URL; write it as"),
        ("oracle+missing://u:pw@h/x", r"no driver is installed .*u:\*\*\*@h/x"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(tmp_path, storage, message):
    def launch():
        data = {"name": "x", "run": tmp_path / "r", "cluster": {"storage": storage}}
        search(SearchConfig.parse(data, source="x"), evaluate=evaluate, **SIZES)

    with pytest.raises(InputError, match=message) as told:
        launch()
    assert "pw@" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_password_or_database_is_told(server):
    with pytest.raises(InputError, match=r"authentication failed for user .scaler.") as told:
        open_database(server.url("postgres", password="wr0ng"))
    assert "wr0ng" not in str(told.value)
    with pytest.raises(InputError, match=r"database .missing. does not exist"):
        open_database(server.url("missing"))


def test_a_hidden_password_is_completed_from_the_environment(monkeypatch):
    whole = "postgresql+psycopg://u:pw@h:5432/x"
    assert masked(whole) == "postgresql+psycopg://u:***@h:5432/x"
    assert full_url(masked(whole)).password is None
    monkeypatch.setenv("SCALER_STORAGE", whole)
    assert full_url(masked(whole)).password == "pw"
    assert masked("postgresql://h/x?password=pw").endswith("password=***")


def test_several_drivers_need_a_database():
    with pytest.raises(InputError, match="drivers: many needs a database that they share"):
        ClusterSection.parse({"drivers": "many"}, source="x")


DRIVER = """
import sys, time
from experiments import search
from experiments.config.schema import SearchConfig
def evaluate(architecture, *, report, seed, checkpoint_dir):
    for epoch in range(1, 4):
        time.sleep(0.1)
        report(epoch, architecture.stages[-1].channels / 100)
    return architecture.stages[-1].channels / 100
search(SearchConfig.load(sys.argv[1]), evaluate=evaluate, num_classes=10, in_channels=1)
"""


@pytest.mark.slow
def test_two_drivers_share_a_search_and_one_that_is_killed_leaves_its_rest(shared, url, tmp_path):
    drivers = []
    environment = {**os.environ, "SCALER_STORAGE": url}
    for name in ("a", "b"):
        cluster = shared.cluster.replace(drivers="many")
        section = shared.search.replace(trials=40)
        config = shared.replace(run=tmp_path / name, search=section, cluster=cluster)
        (tmp_path / f"{name}.yaml").write_text(config.to_yaml())
        command = [sys.executable, "-c", DRIVER, str(tmp_path / f"{name}.yaml")]
        drivers.append(subprocess.Popen(command, env=environment, start_new_session=True))
    store = Store(tmp_path / "no.db", database=url, run="test")
    while len(store.trials("search")) < 12:
        assert all(driver.poll() is None for driver in drivers)
        time.sleep(0.2)
    before = [trial.user_attrs["key"] for trial in store.trials("search")]
    os.killpg(drivers[0].pid, signal.SIGKILL)
    assert drivers[1].wait(timeout=200) == 0
    count = "SELECT count(DISTINCT driver) FROM scaler_claims WHERE ended"
    with store.engine.connect() as connection:
        assert connection.execute(sqlalchemy.text(count)).scalar_one() == 2
    keys = [trial.user_attrs["key"] for trial in store.trials("search")]
    assert keys[: len(before)] == before
    assert len(keys) == len(set(keys)) == 40
