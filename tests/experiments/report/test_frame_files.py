import pandas as pd
import pytest

from experiments import load_coefficients, load_curves, load_family, load_trials
from experiments.report.frame_files import read_frame, save_frame
from search_spaces.records import InputError


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("load", [load_trials, load_curves, load_coefficients, load_family])
def test_a_frame_comes_back_equal(done, tmp_path, load, ending):
    frame = load(done.folder.path)
    path = save_frame(frame, tmp_path / f"frame.{ending}")
    pd.testing.assert_frame_equal(read_frame(path), frame)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_missing_values_of_every_dtype_come_back_missing(tmp_path, ending):
    frame = pd.DataFrame(
        {
            "whole": pd.Series([1, None], dtype="Int64"),
            "float": [0.1 + 0.2, None],
            "boolean": pd.Series([True, None], dtype="boolean"),
            "text": pd.Series(['a,b\n"c"', None], dtype="string"),
            "choice": pd.Series(["NA", None], dtype=pd.CategoricalDtype(["unused", "NA"])),
            "moment": pd.to_datetime(["2026-01-02T03:04:05.000006Z", None]).astype(
                pd.DatetimeTZDtype("us", "UTC")
            ),
            "span": pd.to_timedelta([1.5, None], unit="s").astype("timedelta64[us]"),
        }
    )
    path = save_frame(frame, tmp_path / f"frame.{ending}")
    pd.testing.assert_frame_equal(read_frame(path), frame)


def test_another_ending_is_refused_with_those_that_are_known(tmp_path):
    with pytest.raises(InputError, match=r"must end in one of \.parquet, \.csv"):
        save_frame(pd.DataFrame(), tmp_path / "trials.xlsx")
    assert not list(tmp_path.iterdir())


def test_a_csv_without_its_dtypes_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"other\.dtypes\.json.*pandas\.read_csv"):
        read_frame(tmp_path / "other.csv")


def test_empty_and_missing_text_in_one_column_is_refused_for_a_csv(tmp_path):
    frame = pd.DataFrame({"note": pd.Series(["", None], dtype="string")})
    with pytest.raises(InputError, match="column 'note' holds empty and missing text"):
        save_frame(frame, tmp_path / "notes.csv")
    pd.testing.assert_frame_equal(read_frame(save_frame(frame, tmp_path / "n.parquet")), frame)
