"""The searcher as Tune drives it, without Tune: begun, left open, taken up, ended."""

import sqlite3
import zipfile

import pytest
import sqlalchemy

from experiments.config.messages import WorkFailed
from experiments.config.search_section import EarlyStopping, SearchSection
from experiments.engine.progress import Progress
from experiments.engine.sampled import SampledCandidates
from experiments.engine.searcher import StudySearcher
from experiments.store.checkpoints import Checkpoints, pack
from experiments.store.store import Store
from search_spaces import load_space

HOST = {"host": "here", "device": "cpu", "seconds": 1.0}


@pytest.fixture
def begin(tmp_path):
    """begin(): a driver's searcher over one store; calling it again is the next driver's."""

    def start(trials=3, rule=None, sampler="tpe", **options):
        store = Store(tmp_path / "study.db")

        candidates = SampledCandidates(
            load_space("mbconv_small").at(8),
            section=SearchSection(sampler=sampler),
            seed=0,
            finished=store.trials("search"),
            num_classes=10,
            in_channels=1,
        )
        return StudySearcher(
            candidates,
            store=store,
            study="search",
            trials=trials - len(store.trials("search")),
            epochs=3,
            checkpoints=Checkpoints(tmp_path / "checkpoints"),
            progress=Progress("search", total=trials),
            attributes={},
            early_stopping=rule,
            **options,
        )

    return start


@pytest.fixture
def content(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "weights").write_text("w")
    return pack(folder)


def tell(searcher, name, epoch, accuracy, checkpoint=None):
    """An epoch as Tune hands it on: the scheduler asks, then the callback tells."""
    result = {"epoch": epoch, "accuracy": accuracy, "figures": {}, "checkpoint": checkpoint, **HOST}
    stops = searcher.stops(name, result)
    searcher.told(name, result)
    assert "checkpoint" not in result  # Tune keeps results for ever
    if stops:
        searcher.ended(name)
    return stops


def end(searcher, name, accuracy):
    searcher.told(name, {"accuracy": accuracy, "extra": {}, "files": None, **HOST})
    searcher.ended(name)


def run_alone(searcher, *, until=None):
    """One worker's trials, whose rewards follow from the seed; the curves by suggestion."""
    for number in range(until or 100):
        suggested = searcher.suggest(f"t{number}")
        if not suggested:
            return
        level = suggested.seed * 37 % 11 / 11
        begun = int(suggested.checkpoint is not None)  # after the first epoch
        if not any(tell(searcher, f"t{number}", e, level * e / 3) for e in range(begun + 1, 4)):
            end(searcher, f"t{number}", level)


def table(searcher):
    names = ("state", "value", "params", "intermediate_values")
    return [[getattr(t, name) for name in names] for t in searcher._store.trials("search")]


def test_the_next_driver_takes_up_what_was_running_from_its_checkpoint(begin, content):
    first = begin()
    run_alone(first, until=1)
    job = first.suggest("a")
    tell(first, "a", 1, 0.1, content)
    tell(first, "a", 2, 0.2)  # no checkpoint: the epoch is trained again
    second = begin()
    again = second.suggest("b")
    assert (again.architecture, again.seed) == (job.architecture, job.seed)
    assert again.checkpoint == content
    assert tell(second, "b", 2, 0.2, content) is False
    end(second, "b", 0.3)
    trials = second._store.trials("search")
    assert len(trials) == 2
    assert trials[1].user_attrs["curve"] == [0.1, 0.2]
    assert second._store.opened("search") == []


@pytest.mark.parametrize(
    ("sampler", "kind", "what"),
    [
        ("tpe", "asha", "stopping"),
        ("tpe", "asha", "promotion"),
        ("tpe", "hyperband", "stopping"),
        ("tpe", "hyperband", "promotion"),
        ("tpe", "median", "stopping"),
        ("cost_aware", "asha", "stopping"),
    ],
)
def test_a_continued_search_proposes_and_stops_as_the_uninterrupted_one(
    begin, sampler, kind, what, tmp_path
):
    rule = EarlyStopping(kind=kind, type=what, factor=2)
    for done in range(0, 24, 5):
        run_alone(begin(24, rule, sampler), until=done % 7 + 1)
        begin(24, rule, sampler).suggest("lost")  # begun by a driver that was killed
    last = begin(24, rule, sampler)
    run_alone(last)
    assert last.finished
    (tmp_path / "study.db").rename(tmp_path / "interrupted.db")
    for log in ("study.db-wal", "study.db-shm"):
        (tmp_path / log).unlink(missing_ok=True)
    interrupted = table(last)
    whole = begin(24, rule, sampler)
    run_alone(whole)
    assert interrupted == table(whole)
    assert {str(row[0].name) for row in interrupted} == {"COMPLETE", "PRUNED"}


def test_a_trial_rests_at_a_rung_until_it_is_among_the_best(begin, content):
    searcher = begin(9, EarlyStopping(kind="asha", type="promotion", factor=3))
    for number, reached in enumerate([0.3, 0.2]):
        assert searcher.suggest(str(number)).name == f"search {number}"
        assert tell(searcher, str(number), 1, reached, content)
    searcher.suggest("2")
    assert tell(searcher, "2", 1, 0.1, content)  # the first is now the best of three
    again = searcher.suggest("again")
    assert (again.name, again.checkpoint) == ("search 0", content)
    assert searcher._store.trials("search") == []
    assert not tell(searcher, "again", 2, 0.4)
    end(searcher, "again", 0.5)
    assert searcher.suggest("3").name == "search 3"
    (trial,) = searcher._store.trials("search")
    assert trial.user_attrs["curve"] == [0.3, 0.4]


def test_a_search_too_small_for_its_rungs_still_finishes_its_best_trial(begin, content):
    searcher = begin(
        2, EarlyStopping(kind="asha", type="promotion", factor=3)
    )  # nobody is the best of three
    for number in range(2):
        searcher.suggest(str(number))
        tell(searcher, str(number), 1, 0.9 - 0.8 * number, content)
    assert searcher.suggest("last").name == "search 0"
    assert not tell(searcher, "last", 2, 0.9)
    end(searcher, "last", 0.9)
    assert searcher.suggest("more") is None
    assert [t.state.name for t in searcher._store.trials("search")] == ["PRUNED", "COMPLETE"]


def test_what_rests_and_can_no_longer_be_promoted_ends_at_once(begin):
    searcher = begin(
        3, EarlyStopping(kind="asha", type="promotion", factor=3)
    )  # one of three may go on
    for number, reached in enumerate([0.3, 0.2]):
        searcher.suggest(str(number))
        tell(searcher, str(number), 1, reached)
    (trial,) = searcher._store.trials("search")
    assert (trial.user_attrs["suggestion"], trial.state.name) == (1, "PRUNED")
    assert trial.user_attrs["reason"] == "stopped after epoch 1 of 3"
    assert [left.state for left in searcher._store.opened("search")] == ["resting"]


def test_a_trial_whose_workers_are_lost_fails_the_third_time(begin):
    searcher = begin(trials=1)
    for number in range(3):
        assert searcher.suggest(f"t{number}").name == "search 0"
        tell(searcher, f"t{number}", 1, 0.1)
        searcher.lost(f"t{number}", "out of memory, Ray ended it")
        searcher.ended(f"t{number}", error=True)
    assert searcher.suggest("more") is None
    assert searcher.finished
    (trial,) = searcher._store.trials("search")
    assert trial.state.name == "FAIL"
    reason = "the worker process was lost 3 times: out of memory, Ray ended it"
    assert trial.user_attrs["reason"] == reason


def test_a_lost_worker_past_its_time_limit_counts_as_a_hang(begin):
    searcher = begin(trials=1, time_limit=5.0)
    assert searcher.suggest("t").seconds_left == 5.0
    searcher._on_workers["t"].began -= 6
    searcher.ended("t", error=True)
    (trial,) = searcher._store.trials("search")
    assert trial.user_attrs["reason"] == "stopped by its time limit of 5 s"


def test_a_trial_that_cannot_be_recorded_stays_open_for_the_next_driver(begin, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError("No space left on device")

    first = begin(trials=2)
    first.suggest("a")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "record", full)
        end(first, "a", 0.5)
    assert "No space left" in str(first.error)
    assert first.suggest("b") is None
    assert first.finished
    second = begin(trials=2)
    run_alone(second)
    assert [trial.number for trial in second._store.trials("search")] == [0, 1]


def test_a_search_waits_for_what_is_running_before_it_ends(begin):
    searcher = begin(trials=1)
    searcher.suggest("a")
    assert searcher.suggest("b") is None
    end(searcher, "a", 0.5)
    assert searcher.suggest("c") is None
    assert searcher.finished


def test_what_a_sampler_raises_is_told_as_the_samplers(begin, monkeypatch):
    searcher = begin()

    def broken():
        raise KeyError("my own mistake")

    monkeypatch.setattr(searcher._candidates, "next", broken)
    assert searcher.suggest("a") is None
    with pytest.raises(WorkFailed, match=r"the sampler failed with KeyError: .my own mistake"):
        searcher.close()
    assert searcher.finished


def test_what_a_look_of_early_stopping_raises_is_told_as_the_samplers(begin, monkeypatch):
    searcher = begin(rule=EarlyStopping())
    searcher.suggest("a")

    def broken(*_):
        raise ValueError("not positive definite")

    monkeypatch.setattr(searcher._stopper, "stops", broken)
    assert searcher.stops("a", {"epoch": 1, "accuracy": 0.5})
    assert searcher.suggest("b") is None
    assert searcher.finished
    with pytest.raises(WorkFailed, match="the sampler failed with ValueError: not positive"):
        searcher.close()


def test_a_store_that_cannot_be_written_is_told_in_one_line(begin, monkeypatch):
    searcher = begin()
    error = sqlalchemy.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("disk is full"))

    def full(*_, **__):
        raise error

    monkeypatch.setattr(searcher._store, "open", full)
    assert searcher.suggest("a") is None
    with pytest.raises(WorkFailed, match=r"study.db': disk is full; every finished trial") as told:
        searcher.close()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("left", ["bad/..//../../x", "a\\b"])
def test_files_that_cannot_be_kept_fail_their_trial_and_the_search_goes_on(begin, tmp_path, left):
    archive = tmp_path / "files.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(left, "1")
    searcher = begin()
    for name, files in (("a", archive.read_bytes()), ("b", None)):
        searcher.suggest(name)
        searcher.told(name, {"accuracy": 0.5, "extra": {}, "files": files, **HOST})
        searcher.ended(name)
    first, second = searcher._store.trials("search")
    assert first.user_attrs["reason"].startswith("the files that it left cannot be kept: ")
    assert (first.state.name, second.state.name) == ("FAIL", "COMPLETE")
