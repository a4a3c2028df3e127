import json

import pandas as pd
import pytest

from experiments.report.analysis import compare_runs
from experiments.report.comparing import write_comparison
from search_spaces.records import InputError
from tests.experiments.report.test_report import Page


def contents(folder):
    return {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture
def pair(make_sample, tmp_path):
    """Two searches, the second of which finds better networks."""
    return [make_sample(tmp_path / name, worth=worth) for name, worth in (("a", 0.1), ("b", 0.3))]


def test_runs_stand_side_by_side_with_what_can_be_said(pair, tmp_path):
    page, tables = write_comparison(pair, tmp_path / "out")
    runs = tables["runs"].set_index("run")
    assert runs.loc["a", ["finished", "stopped", "failed"]].tolist() == [20, 10, 0]
    assert runs["best_reward"].idxmax() == "b"
    text = Page(page.read_text()).text
    assert "Runs compared: a, b" in text
    for statement in compare_runs(pair)["statement"]:
        assert statement in text
    assert "None: the runs have the same config." in text


def test_tables_and_figures_are_files_and_the_runs_stay_as_they_are(pair, tmp_path):
    before = [contents(run) for run in pair]
    page, tables = write_comparison(pair, tmp_path / "out")
    first = contents(page.parent)
    assert [contents(run) for run in pair] == before
    assert {f.suffix for f in (page.parent / "figures").iterdir()} == {".png", ".svg"}
    read = pd.read_csv(page.parent / "tables" / "verdicts.csv")
    assert read["p"].dropna().tolist() == pytest.approx(tables["verdicts"]["p"].dropna().tolist())
    write_comparison(pair, tmp_path / "out")
    assert contents(page.parent) == first


def test_each_run_has_its_own_colour_and_mark_in_the_figure(pair, tmp_path):
    page, _ = write_comparison(pair, tmp_path / "out")
    text = page.read_text()
    data = text.split('id="report-data">')[1].split("</script>")[0]
    dots = [t for t in json.loads(data)["charts"]["fronts-0"]["data"] if t["mode"] == "markers"]
    assert [t["name"] for t in dots] == ["a", "b"]
    assert len({(t["marker"]["color"], t["marker"]["symbol"]) for t in dots}) == 2


def test_settings_that_differ_are_listed(begin_run, tmp_path):
    a, b = begin_run("a"), begin_run("b")
    search = b.folder.config.search.replace(trials=77)
    (b.folder.path / "config.yaml").write_text(b.folder.config.replace(search=search).to_yaml())
    page, _ = write_comparison([a.folder.path, b.folder.path], tmp_path / "out")
    text = Page(page.read_text()).text
    assert "search.trials" in text
    assert "search.epochs" not in text
    assert "No member has been trained in any of the runs." in text


def test_a_run_folder_is_not_written_over(pair):
    with pytest.raises(InputError, match="is a run folder; name another folder with --out"):
        write_comparison(pair, pair[0])
