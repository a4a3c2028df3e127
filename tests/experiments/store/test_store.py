import math
import os
import random
import sqlite3
import stat
from contextlib import closing

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages._rdb import models

from experiments.benchmarks.parts.told_epochs import told_epochs
from experiments.store.optuna_tables import COLUMNS, FUNCTIONS, SCHEMA
from experiments.store.sqlite_file import open_copy
from experiments.store.store import Store
from experiments.store.trial import Candidate, EpochResult, Trial
from scaler import Cost
from search_spaces import InputError


@pytest.fixture
def trial(small):
    candidate = Candidate(small, Cost(100, 20, 30), seed=3, suggestion=0, reward_factor=0.5)
    trained = Trial(candidate, epochs=told_epochs((0.4, 0.8)))
    return trained.ended("complete", 0.8, seconds=1.5).frozen()


@pytest.fixture
def filled(tmp_path, trial):
    path = tmp_path / "study.db"
    store = Store(path)
    for _ in range(50):
        store.record("search", trial)
    store.finish()
    return path


def test_a_stored_trial_lasts_its_seconds_for_optunas_own_tools(tmp_path, trial):
    Store(tmp_path / "study.db").record("search", trial)
    (read,) = Store(tmp_path / "study.db").trials("search")
    assert read.duration.total_seconds() == pytest.approx(1.5)


def test_what_is_stored_is_what_was_measured(tmp_path, trial, small):
    Store(tmp_path / "study.db").record("search", trial)
    (read,) = Store(tmp_path / "study.db").trials("search")
    assert read.value == 0.4
    assert read.intermediate_values == {1: 0.2, 2: 0.4}
    expected = {"accuracy": 0.8, "reward": 0.4, "flops": 100, "epochs": 2, "key": small.key}
    assert {name: read.user_attrs[name] for name in expected} == expected


def test_a_failed_trial_keeps_its_reason_and_has_no_value(tmp_path, small):
    candidate = Candidate(small, Cost(1, 1, 1), seed=0, suggestion=0)
    store = Store(tmp_path / "study.db")
    store.record("search", Trial(candidate).ended("fail", None, reason="NaN").frozen())
    (read,) = store.trials("search")
    assert (read.state, read.value) == (optuna.trial.TrialState.FAIL, None)
    assert read.user_attrs["reason"] == "NaN"


def test_plain_optuna_opens_the_store(filled):
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{filled}")
    assert len(study.trials) == 50


def test_a_trial_is_read_as_optuna_reads_it(tmp_path, small):
    """A trial written whole is the trial that `add_trial` writes; both readers agree on both."""
    kinds = {"a": IntDistribution(1, 9), "b": CategoricalDistribution([None, 0.5, "x"])}
    kinds |= {"c": FloatDistribution(1e-5, 1.0, log=True)}
    params = {"a": 3, "b": "x", "c": 0.25}
    candidate = Candidate(
        small, Cost(1, 2, 3), seed=1, suggestion=4, params=params, distributions=kinds
    )
    trained = Trial(candidate, epochs=told_epochs([0.1, math.inf]))
    told = trained.told(EpochResult(3, -math.inf, {"loss": 1}))
    ends = told.ended("complete", 0.5), Trial(candidate).ended("fail", None, reason="no")
    trials = [end.frozen() for end in ends]
    store = Store(tmp_path / "study.db")
    for trial in trials:
        store.record("search", trial)
        store.study("search").add_trial(trial)
    theirs = optuna.load_study(study_name="search", storage=f"sqlite:///{store.path}").trials
    assert store.trials("search") == theirs
    assert [trial.number for trial in theirs] == [0, 1, 2, 3]
    for one, other in zip(theirs[::2], theirs[1::2], strict=True):
        for field in ("state", "values", "params", "distributions", "user_attrs"):
            assert getattr(one, field) == getattr(other, field)
        assert one.intermediate_values == other.intermediate_values


def test_the_schema_is_the_one_that_whole_trials_are_written_for(filled):
    with sqlite3.connect(filled) as connection:
        assert connection.execute("SELECT schema_version FROM version_info").fetchone() == (SCHEMA,)


@pytest.mark.parametrize("table", COLUMNS)
def test_optuna_has_every_private_name_that_we_use(table):
    model = getattr(models, table)
    assert set(COLUMNS[table]) <= set(model.__table__.c.keys())
    assert table not in FUNCTIONS or callable(getattr(model, FUNCTIONS[table]))


def test_recording_a_trial_closes_the_open_one(tmp_path, trial, small):
    store = Store(tmp_path / "study.db")
    running = [Trial(Candidate(small, Cost(1, 1, 1), seed=0, suggestion=i)) for i in (0, 1)]
    told = running[0].told(EpochResult(1, 0.5, {"loss": 2.0}, 1.5)).told(EpochResult(2, 0.75))
    for one in (*running, told):
        store.open("search", one)
    assert Store(store.path).opened("search") == [told, running[1]]
    store.record("search", trial, suggestion=0)
    assert Store(store.path).opened("search") == [running[1]]


def test_an_evaluation_that_begins_again_takes_back_its_epochs(small):
    trial = Trial(Candidate(small, Cost(1, 1, 1), seed=0, suggestion=0, reward_factor=2.0))
    for epoch, accuracy in ((1, 0.1), (2, 0.2), (3, 0.3), (2, 0.4)):
        trial = trial.told(EpochResult(epoch, accuracy))
    assert trial.rewards == {1: 0.2, 2: 0.8}


@pytest.mark.parametrize("seed", range(20))
def test_a_file_cut_anywhere_is_named_with_its_backup_and_left_as_it_is(filled, seed):
    content = filled.read_bytes()
    cut = random.Random(seed).randrange(len(content)) if seed else 0
    filled.write_bytes(content[:cut])
    message = r"the study '.*study.db' is damaged: .*put its backup '.*study.db.bak' in its place"
    with pytest.raises(InputError, match=message):
        Store(filled)
    assert filled.read_bytes() == content[:cut]


def test_the_backup_put_in_place_holds_the_trials(filled):
    filled.write_bytes(filled.read_bytes()[:5000])
    filled.with_name("study.db.bak").replace(filled)
    assert len(Store(filled).trials("search")) == 50


def test_a_study_that_is_gone_is_not_begun_anew_while_its_backup_is_there(filled):
    filled.unlink()
    with pytest.raises(InputError, match=r"is damaged: it is gone; put its backup"):
        Store(filled)
    assert not filled.exists()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "study.db"
    path.write_text("hello " * 1000)
    with pytest.raises(InputError, match="is damaged: file is not a database"):
        Store(path)


def test_a_database_without_a_study_is_refused(tmp_path):
    path = tmp_path / "study.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (x)")
    with pytest.raises(InputError, match=r"it holds no Optuna study"):
        Store(path)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot open the study .*written to"):
        Store(tmp_path / "file" / "study.db")


@pytest.mark.parametrize(
    "code",
    [
        *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN),
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM),
    ],
)
@pytest.mark.parametrize("opened", [Store, open_copy])
def test_a_sound_study_that_cannot_be_opened_is_not_called_damaged(
    filled, monkeypatch, code, opened
):
    def refused(*_arguments, **_options):
        error = sqlite3.OperationalError("not now")
        error.sqlite_errorcode = code
        raise error

    content = filled.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("experiments.store.sqlite_file._damage", refused)
        with pytest.raises(InputError, match="just now: not now; the study is untouched") as told:
            opened(filled)
    assert "damaged" not in str(told.value)
    assert "\n" not in str(told.value)
    assert filled.read_bytes() == content
    assert len(Store(filled).trials("search")) == 50


def test_a_study_that_another_program_locks_is_untouched(filled, monkeypatch):
    monkeypatch.setattr("experiments.store.sqlite_file.PATIENCE", 0.1)
    with closing(sqlite3.connect(filled)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match="cannot be opened just now: database is locked"):
            Store(filled)
    assert len(Store(filled).trials("search")) == 50


@pytest.mark.parametrize("name", ["why?", "why?mode=ro", "100%25", "a#b", "a b&c=d", "ünï"])
def test_a_folder_may_have_any_name(tmp_path, trial, name):
    path = tmp_path / name / "study.db"
    path.parent.mkdir()
    store = Store(path)
    store.record("search", trial)
    store.finish()
    assert {file.name for file in path.parent.iterdir()} == {"study.db", "study.db.bak"}
    assert len(Store(path).trials("search")) == 1
    with open_copy(path).connect() as copy:
        assert copy.execute(sqlalchemy.text("SELECT count(*) FROM trials")).scalar() == 1


def test_a_study_its_log_and_its_backup_are_readable_by_their_owner_alone(tmp_path, trial):
    before = os.umask(0o022)
    try:
        store = Store(tmp_path / "study.db")
        store.record("search", trial)
        store.back_up()
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert files == dict.fromkeys(
        ("study.db", "study.db-wal", "study.db-shm", "study.db.bak"), 0o600
    )


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_study_is_there_whole_or_not_at_all(tmp_path, monkeypatch, trial, end):
    def stopped(*_):
        raise end

    with monkeypatch.context() as patched:
        patched.setattr("experiments.config.files.os.fsync", stopped)
        with pytest.raises((KeyboardInterrupt, InputError)):
            Store(tmp_path / "study.db")
    assert list(tmp_path.iterdir()) == []
    Store(tmp_path / "study.db").record("search", trial)


def test_a_backup_that_finds_no_room_is_a_warning(filled, monkeypatch, capsys):
    backup = filled.with_name("study.db.bak").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.store.sqlite_file.os.fsync", full)
    store = Store(filled)
    store.finish()
    assert "cannot back up" in capsys.readouterr().err
    assert filled.with_name("study.db.bak").read_bytes() == backup
    assert not list(filled.parent.glob(".*"))
