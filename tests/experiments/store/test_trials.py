import json
import shutil
import sqlite3
from contextlib import closing

import pandas as pd
import pytest

from experiments.store.store import STUDIES
from experiments.store.trials import FIXED, load_curves, load_trials, sizes_of
from search_spaces import Architecture, load_architecture
from search_spaces.records import InputError


def contents(folder):
    return {f.name: (f.stat().st_mtime_ns, f.stat().st_size) for f in folder.rglob("*")}


def test_the_fixed_columns_come_first_and_in_order(done):
    names = list(load_trials(done.folder.path).columns)
    assert names[: len(FIXED)] == list(FIXED)
    assert names[len(FIXED)] == "stages.0.channels"


def test_counts_are_whole_numbers_and_measurements_floats(done):
    trials = load_trials(done.folder.path)
    for name in ("number", "flops", "stages.1.block.kernel_size", "head.channels"):
        assert trials[name].dtype == "Int64"
    for name in ("accuracy", "seconds", "stages.1.block.se_ratio", "phi", "test_accuracy"):
        assert trials[name].dtype == "float64"


def test_choices_among_names_are_categoricals_with_their_values_known(searched):
    trials = load_trials(searched.folder.path)
    assert trials["state"].cat.categories.tolist() == ["complete", "pruned", "fail"]
    assert trials["study"].cat.categories.tolist() == list(STUDIES)
    kinds = trials["stages.1.block.kind"]
    assert (kinds.dtype, kinds.cat.categories.tolist()) == ("category", ["mbconv"])


def test_moments_have_their_zone_and_durations_are_spans(searched):
    before = pd.Timestamp.now("UTC")
    searched.record("search", seconds=90.25, channels=56)
    row = load_trials(searched.folder.path).iloc[-1]
    assert before - pd.Timedelta("1s") < row["ended"] < pd.Timestamp.now("UTC")
    assert row["duration"] == pd.Timedelta(seconds=90.25) == row["ended"] - row["started"]


def test_a_row_holds_what_was_recorded(searched, small):
    row = load_trials(searched.folder.path).iloc[0]
    assert (row["run"], row["study"], row["number"], row["state"]) == (
        "hand",
        "search",
        0,
        "complete",
    )
    assert (row["accuracy"], row["flops"], row["params"], row["activations"]) == (
        0.9,
        1_000_000,
        2_000,
        3_000,
    )
    assert (row["epochs"], row["seconds"], row["host"], row["reason"]) == (2, 1.5, "here", "")
    assert row["key"] == small.key
    assert Architecture.model_validate_json(row["architecture"]) == small


def test_the_architecture_is_flat_with_its_defaults(searched):
    row = load_trials(searched.folder.path).iloc[0]
    assert (row["stages.1.channels"], row["stages.1.layers"], row["stages.1.stride"]) == (16, 2, 2)
    assert (row["stages.1.block.kind"], row["stages.1.block.expand_ratio"]) == ("mbconv", 3)
    assert (row["stages.0.block.se_ratio"], row["stages.0.block.skip"]) == (0.0, "identity")
    assert (row["resolution"], row["stem.channels"], row["head.channels"]) == (16, 8, 32)


def test_of_a_head_for_boxes_the_frame_holds_all_that_can_be_chosen():
    head = {"kind": "fpn", "levels": [4, 8], "predictor": {"kind": "points", "layers": 1}}
    network = load_architecture("fcos_resnet50_fpn").model_dump(mode="json") | {"head": head}
    sizes = sizes_of(json.dumps(network), source="test")
    assert (sizes["head.kind"], sizes["head.channels"]) == ("fpn", 256)
    assert (sizes["head.levels"], sizes["head.predictor.kind"]) == ("[4, 8]", "points")
    assert (sizes["head.predictor.layers"], sizes["head.predictor.norm"]) == (1, "group_norm")
    assert "head.predictor.score_threshold" not in sizes


def test_a_failed_trial_has_its_reason_and_no_reward(searched):
    trials = load_trials(searched.folder.path)
    failed = trials[trials["state"] == "fail"].iloc[0]
    assert failed["reason"] == "ValueError: no"
    assert pd.isna(failed["accuracy"])
    assert pd.isna(failed["reward"])


def test_the_familys_resolution_factor_does_not_hide_the_pixels(done):
    family = load_trials(done.folder.path, study="family")
    assert family["resolution_factor"].tolist() == [1.0, 1.0]
    assert family["resolution"].tolist() == [16, 16]


def test_further_figures_of_an_evaluation_are_columns(run):
    run.record("search", extra={"latency_ms": 3.5, "run": 7.0})
    trials = load_trials(run.folder.path)
    assert trials["latency_ms"].tolist() == [3.5]
    assert trials["run"].tolist() == ["hand"]


def test_training_choices_are_columns(run):
    run.record("search", attributes={"training": {"learning_rate": 0.1, "batch_size": 32}})
    trials = load_trials(run.folder.path)
    assert trials["training.learning_rate"].tolist() == [0.1]
    assert trials["training.batch_size"].dtype == "Int64"


def test_several_runs_stand_in_one_frame(searched, begin_run):
    other = begin_run("other")
    other.record("search")
    other.folder.write_environment(metric="Dice")
    trials = load_trials([searched.folder.path, other.folder.path])
    assert trials["run"].tolist() == ["hand"] * 3 + ["other"]
    assert trials["metric"].tolist() == ["accuracy"] * 3 + ["Dice"]


def test_runs_of_one_name_are_told_apart_by_their_paths(begin_run):
    runs = [begin_run(f"{place}/hand") for place in "ab"]
    for run in runs:
        run.record("search")
    paths = [run.folder.path for run in runs]
    assert load_trials(paths)["run"].tolist() == [path.as_posix() for path in paths]


def test_a_run_without_a_store_is_an_empty_frame_and_gets_none(run):
    trials = load_trials(run.folder.path)
    assert trials.empty
    assert dict(trials.dtypes) == {
        name: pd.api.types.pandas_dtype(kind) for name, kind in FIXED.items()
    }
    assert not run.folder.study.exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"not a run folder: it has no config\.yaml"):
        load_trials(tmp_path)


def test_an_unknown_study_is_told_with_the_known_ones(searched):
    with pytest.raises(InputError, match="did you mean 'search'"):
        load_trials(searched.folder.path, study="serch")


def test_curves_have_a_row_an_epoch(searched):
    curves = load_curves(searched.folder.path, study="search")
    accuracy = curves[curves["metric"] == "accuracy"]
    assert accuracy["epoch"].tolist() == [1, 2]
    assert accuracy["value"].tolist() == [0.5, 0.9]
    assert curves[curves["metric"] == "train_loss"]["value"].tolist() == [2.0, 1.0]
    assert curves["number"].dtype == curves["epoch"].dtype == "Int64"


def test_reading_a_run_at_rest_changes_nothing_in_its_folder(done, tmp_path):
    with closing(sqlite3.connect(done.folder.study)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    logs = shutil.ignore_patterns("*-wal", "*-shm")
    copy = shutil.copytree(done.folder.path, tmp_path / "copy", ignore=logs)
    before = contents(copy)
    assert len(load_trials(copy)) == 7
    assert contents(copy) == before


def test_reading_beside_an_open_store_sees_each_trial_as_it_is_recorded(run):
    run.record("search")
    assert len(load_trials(run.folder.path)) == 1
    run.record("search", channels=40)
    assert len(load_trials(run.folder.path)) == 2


def test_a_folder_copied_with_its_log_alone_is_read_whole(run, tmp_path):
    run.record("search")
    assert run.folder.study.with_name("study.db-wal").stat().st_size > 0
    index = shutil.ignore_patterns("*-shm")
    copy = shutil.copytree(run.folder.path, tmp_path / "copy", ignore=index)
    before = contents(copy)
    assert len(load_trials(copy)) == 1
    assert contents(copy) == before


@pytest.mark.parametrize("damage", [b"", b"not a database at all" * 100])
def test_a_damaged_store_is_told_and_left_as_it_is(run, damage):
    run.folder.study.write_bytes(damage)
    with pytest.raises(InputError, match="cannot read the study"):
        load_trials(run.folder.path)
    assert run.folder.study.read_bytes() == damage
