from pathlib import Path

import pandas as pd
import pytest

from experiments.config.run_folder import RunFolder
from experiments.config.schema import DataConfig, PartNames, SearchConfig
from experiments.data.images import ImageData
from experiments.data.sources import load_data
from search_spaces.records import InputError

SPLITS = ("train", "train", "train", "val", "test")


@pytest.fixture
def rows(tmp_path, paint) -> list[dict[str, str]]:
    """Ten images of two classes, whose levels are 0..4 and 100..104, in three splits."""
    found = []
    for label, name in enumerate(("cat", "dog")):
        for number, split in enumerate(SPLITS):
            path = paint(tmp_path / "images" / f"{name}{number}.png", level=100 * label + number)
            relative = path.relative_to(tmp_path).as_posix()
            found.append({"path": relative, "label": name, "split": split})
    return found


@pytest.fixture
def load(tmp_path):
    """load(rows, ...): what a table of these rows holds."""

    def read(rows: list[dict[str, str]], *, suffix: str = ".csv", **settings: object) -> ImageData:
        table = tmp_path / f"animals{suffix}"
        frame = pd.DataFrame(rows)
        frame.to_csv(table, index=False) if suffix == ".csv" else frame.to_parquet(table)
        return load_data(DataConfig(source=str(table), **settings), seed=0)

    return read


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_give_labels_and_splits(rows, load, suffix):
    data = load(rows[::-1], suffix=suffix)
    assert (data.name, data.classes) == ("animals", ("cat", "dog"))
    levels = {
        name: sorted(part.images[:, 0, 0, 0].tolist())
        for name, part in (("train", data.train), ("val", data.validation), ("test", data.test))
    }
    assert levels == {"train": [0, 1, 2, 100, 101, 102], "val": [3, 103], "test": [4, 104]}
    assert [int(level >= 100) for level in data.train.images[:, 0, 0, 0]] == (
        data.train.labels.tolist()
    )


def test_without_a_split_column_the_parts_are_cut(rows, load):
    data = load([{"path": row["path"], "label": row["label"]} for row in rows])
    assert [len(part) for part in (data.train, data.validation, data.test)] == [6, 2, 2]


def test_numbers_as_labels_are_classes_in_their_order(rows, load):
    numbered = [{**row, "label": "10" if row["label"] == "cat" else "9"} for row in rows]
    assert load(numbered).classes == ("9", "10")
    as_numbers = [{**row, "label": int(row["label"])} for row in numbered]
    assert load(as_numbers, suffix=".parquet").fingerprint == load(numbered).fingerprint


def test_labels_that_pandas_takes_for_nothing_are_labels(rows, load):
    named = [{**row, "label": "NA" if row["label"] == "cat" else "null"} for row in rows]
    assert load(named).classes == ("NA", "null")


def test_a_table_is_found_under_scaler_data_and_streams(rows, load, tmp_path, monkeypatch):
    held = load(rows)
    monkeypatch.setenv("SCALER_DATA", str(tmp_path))
    streamed = load_data(DataConfig(source="animals.csv", placement="stream"), seed=0)
    assert streamed.fingerprint == held.fingerprint


def test_a_run_is_not_continued_with_another_label_in_the_table(rows, load, tmp_path):
    folder = RunFolder.check(SearchConfig(name="x", run=tmp_path / "run"), set())
    folder.path.mkdir()
    folder.write_environment(data=load(rows).fingerprint)
    folder.check_facts({"data": load(rows).fingerprint})
    rows[0]["label"], rows[5]["label"] = "dog", "cat"
    with pytest.raises(InputError, match="was begun with data"):
        folder.check_facts({"data": load(rows).fingerprint})


def test_rows_that_say_the_same_again_count_once_with_a_warning(rows, load, capsys):
    data = load([*rows, rows[1], rows[1]])
    assert len(data.train) == 6
    told = "2 rows say the same again, the first of them row 12 ('images/cat1.png')"
    assert told in capsys.readouterr().err


def write(table: Path, header: str, rows: list[str]) -> DataConfig:
    table.write_text("\n".join([header, *rows]) + "\n")
    return DataConfig(source=str(table))


def test_empty_cells_and_rows_of_a_spreadsheet_are_nothing(rows, tmp_path):
    lines = [f"{row['path']},{row['label']},," for row in rows]
    data = load_data(write(tmp_path / "t.csv", "path, label", [*lines, ",,,"]), seed=0)
    assert (data.classes, len(data.train)) == (("cat", "dog"), 6)


def test_a_cell_without_a_column_is_refused_by_its_row(rows, tmp_path):
    lines = [f"{row['path']},{row['label']}" for row in rows]
    lines[3] = "images/cat3.png,with hat,cat"
    with pytest.raises(InputError, match="row 5 has 3 cells, but the header names 2; name the oth"):
        load_data(write(tmp_path / "t.csv", "path,label", lines), seed=0)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_whole_numbers_that_became_floats_are_whole_again(rows, load, suffix):
    numbered = [{**row, "label": 10.0 if row["label"] == "cat" else 2.0} for row in rows]
    assert load(numbered, suffix=suffix).classes == ("2", "10")


def test_a_folder_and_a_table_of_its_files_have_the_same_classes(tmp_path, paint):
    names = ["11", "2", "1", "0", "-1", "hat"]
    files = [paint(tmp_path / "im" / name / f"{k}.png") for name in names for k in range(3)]
    lines = [f"{file},{file.parent.name}" for file in files]
    table = load_data(write(tmp_path / "t.csv", "path,label", lines), seed=0)
    folder = load_data(DataConfig(source=str(tmp_path / "im")), seed=0)
    assert folder.classes == table.classes == ("-1", "0", "1", "2", "11", "hat")


def test_two_unicode_forms_of_a_label_are_one_class(rows, load):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    named = [{**row, "label": row["label"].replace("cat", composed)} for row in rows]
    named[2]["label"] = decomposed
    assert load(named).classes == (composed, "dog")


def test_a_file_whose_name_has_another_unicode_form_is_told(rows, load, tmp_path, paint):
    paint(tmp_path / "images" / "caf\u00e9.png")
    rows[0]["path"] = "images/cafe\u0301.png"
    with pytest.raises(InputError, match=r"has 'caf\\xe9.png' in another Unicode form than"):
        load(rows)


def test_splits_have_their_usual_names_or_those_of_the_config(rows, load):
    usual = {"train": "Training", "val": "DEV", "test": "test_set"}
    named = [{**row, "split": usual[row["split"]]} for row in rows]
    assert load(named).fingerprint == load(rows).fingerprint
    own = {"train": "a", "val": "b", "test": "c"}
    named = [{**row, "split": own[row["split"]]} for row in rows]
    parts = PartNames(train="a", test="c")
    data = load(named, parts=parts)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [4, 2, 2]


def file_missing(rows):
    rows[3]["path"] = "images/gone.png"


def file_empty(rows):
    Path(rows[0]["path"]).write_bytes(b"")


def file_broken(rows):
    Path(rows[7]["path"]).write_bytes(b"no image")


def two_labels(rows):
    rows.append({**rows[0], "label": "dog"})


def two_splits(rows):
    rows.append({**rows[2], "split": "test"})


def two_labels_in_two_spellings(rows):
    rows.append({**rows[0], "path": "images/../images/./cat0.png", "label": "dog"})


def two_labels_through_a_link(rows):
    Path("images/link.png").symlink_to("cat0.png")
    rows.append({**rows[0], "path": "images/link.png", "label": "dog"})


def label_empty(rows):
    rows[4]["label"] = " "


def unknown_split(rows):
    rows[1]["split"] = "holdout"


def one_class(rows):
    del rows[5:]


def class_missing_in_test(rows):
    del rows[4]


def no_train(rows):
    rows[:] = [row for row in rows if row["split"] != "train"]


def no_label_column(rows):
    rows[:] = [{"path": row["path"], "class": row["label"]} for row in rows]


MISTAKES = {
    file_missing: "row 5: cannot read 'images/gone.png' .No such file.*relative to the table",
    file_empty: "images/cat0.png' is an empty file",
    file_broken: "cannot decode image '.*images/dog2.png'",
    two_labels: "'images/cat0.png' is cat in train in row 2, but dog in train in row 12",
    two_labels_in_two_spellings: "but 'images/../images/./cat0.png', the same file, is dog in",
    two_labels_through_a_link: "but 'images/link.png', the same file, is dog in train in row 12",
    two_splits: "'images/cat2.png' is cat in train in row 4, but cat in test in row 12",
    label_empty: "row 6: `label` is empty",
    unknown_split: "row 3: unknown split 'holdout'; known: train, .*data.parts",
    one_class: "has 1 class, 'cat', and at least 2 are needed",
    class_missing_in_test: "images in split test of .* but 'cat' is missing",
    no_train: "has no row whose split is train",
    no_label_column: "no column `label`; .* but has `path`, `class`",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_the_table_names_row_and_file_in_one_line(
    rows, load, tmp_path, monkeypatch, mistake
):
    monkeypatch.chdir(tmp_path)
    mistake(rows)
    with pytest.raises(InputError, match=MISTAKES[mistake]) as told:
        load(rows)
    assert "\n" not in str(told.value)


def test_a_table_without_rows_and_one_that_is_none_are_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("path,label\n")
    with pytest.raises(InputError, match=r"empty\.csv' has no rows"):
        load_data(DataConfig(source=str(tmp_path / "empty.csv")), seed=0)
    (tmp_path / "bad.parquet").write_text("path,label\n")
    with pytest.raises(InputError, match=r"cannot read the table '.*bad.parquet'"):
        load_data(DataConfig(source=str(tmp_path / "bad.parquet")), seed=0)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"neither a folder nor a table that ends in \.csv"):
        load_data(DataConfig(source=str(tmp_path / "notes.txt")), seed=0)
