import pytest

from experiments import load_coefficients, load_family
from search_spaces.records import InputError


def test_the_chosen_direction_is_marked_among_all_of_the_run(repeated):
    table = load_coefficients(repeated.folder.path)
    assert table["alpha"].tolist() == [1.2, 2.0, 1.4]
    assert table["chosen"].tolist() == [True, False, False]
    assert table["run"].tolist() == ["hand"] * 3


def test_nothing_is_marked_where_nothing_was_chosen(searched):
    attributes = {"alpha": 1.2, "beta": 1.0, "gamma": 1.0, "baseline": searched.baseline.key}
    searched.record("coefficients", attributes=attributes)
    assert load_coefficients(searched.folder.path)["chosen"].tolist() == [False]


def test_families_of_several_runs_stand_in_one_frame(done, begin_run):
    other = begin_run("other")
    other.folder.write_baseline(other.baseline)
    other.family()
    table = load_family([done.folder.path, other.folder.path])
    assert table["run"].tolist() == ["hand", "hand", "other", "other"]
    assert table["times_baseline"].tolist() == [1.0, 2.1, 1.0, 2.1]
    assert table["state"].cat.categories.tolist() == ["complete", "pruned", "fail"]


def test_a_run_that_has_only_begun_has_empty_frames_with_their_columns(run):
    assert load_family(run.folder.path).columns[:2].tolist() == ["run", "member"]
    assert load_coefficients([run.folder.path]).columns[-1] == "chosen"


def test_no_run_at_all_is_refused():
    with pytest.raises(InputError, match="no run is named"):
        load_family([])
