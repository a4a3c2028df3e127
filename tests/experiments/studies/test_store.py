import sqlite3

import optuna
import pytest

from experiments.studies.store import Store
from experiments.studies.trial import Candidate, Outcome, freeze
from scaler import Cost
from search_spaces import InputError


@pytest.fixture
def trial(small):
    candidate = Candidate(small, Cost(100, 20, 30), seed=3, suggestion=0, reward_factor=0.5)
    return freeze(candidate, Outcome("complete", 0.8, curve=(0.4, 0.8), seconds=1.5))


@pytest.fixture
def filled(tmp_path, trial):
    path = tmp_path / "study.db"
    store = Store(path)
    for _ in range(50):
        store.record("search", trial)
    store._storage.engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


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
    store.record("search", freeze(candidate, Outcome("fail", None, reason="NaN")))
    (read,) = store.trials("search")
    assert (read.state, read.value) == (optuna.trial.TrialState.FAIL, None)
    assert read.user_attrs["reason"] == "NaN"


def test_plain_optuna_opens_the_store(filled):
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{filled}")
    assert len(study.trials) == 50


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_named_and_left_as_it_is(filled, share):
    content = filled.read_bytes()
    filled.write_bytes(content[: int(len(content) * share)])
    before = filled.read_bytes()
    with pytest.raises(InputError, match=r"the study '.*study.db' is damaged: .*put a copy"):
        Store(filled)
    assert filled.read_bytes() == before


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
