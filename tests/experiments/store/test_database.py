"""A run's store in PostgreSQL: the same study, one driver, no password left behind."""

import sys
import threading

import optuna
import pytest
import sqlalchemy

from experiments import load_trials, search
from experiments.benchmarks.parts.told_epochs import told_epochs
from experiments.config.files import write_text
from experiments.config.schema import SearchConfig
from experiments.config.sections import ClusterSection
from experiments.config.storage_url import full_url, masked
from experiments.store.database import open_database
from experiments.store.run_lock import RunLock
from experiments.store.store import Store
from experiments.store.trial import Candidate, Trial
from experiments.store.trials import load_notes
from scaler import Cost
from search_spaces import InputError
from tests.postgres_server import PASSWORD

SIZES = {"num_classes": 10, "in_channels": 1}


@pytest.fixture
def url(server, request):
    return server.database(request.node.name[:60])


@pytest.fixture
def trial(small):
    candidate = Candidate(small, Cost(100, 20, 30), seed=3, suggestion=0, reward_factor=0.5)
    trained = Trial(candidate, epochs=told_epochs((0.4, 0.8)))
    return trained.ended("complete", 0.8, seconds=1.5).frozen()


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


@pytest.mark.slow
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


def test_a_runs_notes_are_read_from_its_database(shared, url):
    write_text(shared.run / "config.yaml", shared.to_yaml())
    store = Store(shared.run / "study.db", database=url, run=shared.name)
    store.note("coefficients", "dropped", ["alpha"])
    assert load_notes(shared.run, study="coefficients")["dropped"] == ["alpha"]
    assert not (shared.run / "study.db").exists()


@pytest.mark.usefixtures("without_ray")
def test_a_run_is_not_continued_in_another_store(shared, config):
    search(shared, evaluate=lambda *a, **k: evaluate(*a, **k), **SIZES)
    with pytest.raises(InputError, match=r"has its trials in postgresql.*\*\*\*@"):
        search(config, evaluate=evaluate, **SIZES)


@pytest.mark.usefixtures("without_ray")
def test_another_run_of_the_same_name_is_refused(shared, tmp_path):
    search(shared, evaluate=lambda *a, **k: evaluate(*a, **k), **SIZES)
    other = shared.replace(run=tmp_path / "b", search=shared.search.replace(epochs=2))
    with pytest.raises(InputError, match=r"\(run test\)' holds a run with search\.epochs = 3"):
        search(other, evaluate=evaluate, **SIZES)
    assert not (tmp_path / "b").exists()


def test_a_second_driver_of_a_run_in_a_database_is_refused(url, tmp_path):
    engine = open_database(url).engine
    second = RunLock(tmp_path / "b", engine=engine, run="a")
    with RunLock(tmp_path / "a", engine=engine, run="a"):
        with pytest.raises(InputError, match="is driven by another command"), second:
            pass
        assert not (tmp_path / "b").exists()
        with RunLock(tmp_path / "c", engine=engine, run="c"):
            pass
    with second:
        pass


# With how long to wait for their end: a server ends a connection some time after it is told to.
LOSE_LOCKS = "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'"


def test_a_driver_that_lost_its_lock_to_another_stops(server, url, tmp_path):
    engine = open_database(url).engine
    first, second = (RunLock(tmp_path / name, engine=engine, run="a") for name in "xy")
    with first:
        server.sql(LOSE_LOCKS)
        first.check()  # nobody else came: it takes it again
        server.sql(LOSE_LOCKS)
        with second, pytest.raises(InputError, match="driven by another"):
            first.check()


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
