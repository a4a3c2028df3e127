import base64
import json
import re
from html.parser import HTMLParser

import pytest

from experiments.config.run_folder import RunFolder
from experiments.report.charts.overview import overview
from experiments.report.first_screen import commands, tiles
from experiments.report.report import result_text, write_report
from experiments.report.tables import data_sizes, make_tables
from scaler.stages import stage_rows

VOID = {"meta", "img", "link", "br", "input"}
MIB = 2**20


class Page(HTMLParser):
    """The tags that a page is made of; closed in order, or an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.text = [], [], ""  # text: what is read, scripts not
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.text += data

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


pytestmark = pytest.mark.usefixtures("blank")


def report(run):
    return write_report(run.folder).read_text()


def test_a_run_that_has_only_begun_has_a_report(run):
    text = report(run)
    assert "No trial of the search has ended yet." in text
    assert Page(text).all("img") == []
    assert not run.folder.study.exists()


def test_a_run_that_is_only_searched_shows_search_and_baseline(searched):
    text = report(searched)
    assert "1 finished, 1 stopped early, 1 failed" in text
    assert "MBConv3, k5x5, SE 0.25" in text
    assert "It has not been scaled yet." in text
    assert len(Page(text).all("img")) == 6


def test_a_finished_run_shows_everything(done):
    text = report(done)
    assert "chose alpha 2, beta 1, gamma 1" in text
    assert "the baseline grew to hand_b1" in text
    assert "fingerprint-1234" in text
    assert len(Page(text).all("img")) == 9
    assert [tag["class"] for tag in Page(text).all("tr") if "class" in tag] == ["best", "best"]


def test_repeated_trainings_are_shown_with_what_can_be_said_of_them(repeated):
    text = report(repeated)
    verdict = "#1 is first with a mean reward of 0.9100 ± 0.0141 (n = 2), then #2 with 0.8900"
    assert text.count(verdict) == 2  # in the summary and in its section
    assert "is within noise (Welch&#39;s t-test, p = " in text
    assert "alpha 1.2 beta 1 gamma 1 is first with a mean accuracy of 0.9500" in text
    assert "too coarse" in text
    images = [image["alt"] for image in Page(text).all("img")]
    assert sum("standard deviation" in alt for alt in images) == 2
    assert any(alt.startswith("Triangle") for alt in images)
    assert len([tag for tag in Page(text).all("tr") if "class" in tag]) == 3


def test_a_warm_start_is_told_in_the_summary_and_is_no_trial_of_the_search(searched):
    searched.record("warm_start", channels=40, attributes={"origin": "old#3"})
    searched.record("search", channels=48, attributes={"origin": "old#4"})
    text = report(searched)
    assert "Warm start: 1 results from elsewhere told, 1 settings tried first." in text
    assert "2 finished, 1 stopped early, 1 failed" in text


def test_a_grid_of_which_all_failed_has_a_report(searched):
    attributes = {"alpha": 1.0, "beta": 1.0, "gamma": 1.4, "rule": "equal_flops", "round": 1}
    attributes |= {"contender": "one", "baseline": searched.baseline.key}
    searched.record("coefficients", accuracy=None, state="fail", attributes=attributes)
    assert "None" not in Page(report(searched)).text


def test_what_was_screened_out_is_told_by_reason(searched):
    searched.store.note("search", "screened_out", {"outside": 12, "repeated": 3})
    text = report(searched)
    assert "15 screened out before training (12 outside the limits, 3 already tried)" in text


def test_a_run_in_which_all_failed_says_why(run):
    run.record("search", accuracy=None, state="fail", reason="RuntimeError: out of memory")
    text = report(run)
    assert "None of the search&#39;s trials has finished (1 failed)." in text
    assert "RuntimeError: out of memory" in text
    assert "1 trials failed and took 2 s: 1 RuntimeError." in text
    assert [image["alt"][:9] for image in Page(text).all("img")] == ["Bar chart"]  # of the time


def test_a_run_in_which_all_were_stopped_early_has_figures(run):
    run.record("search", state="pruned", accuracy=0.3)
    alts = [image["alt"] for image in Page(report(run)).all("img")]
    assert any(alt.startswith("Scatter plot of the search's trials") for alt in alts)


def test_coefficients_without_a_search_have_a_report(run, small):
    run.folder.write_baseline(small)
    run.grid()
    assert "The grid of 2 settings chose alpha 2, beta 1, gamma 1" in report(run)


def test_the_page_loads_nothing_from_anywhere(done):
    page = Page(report(done))
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; img-src data:")
    assert page.all("link") == []
    assert all("src" not in script for script in page.all("script"))
    for image in page.all("img"):
        kind, data = image["src"].split(",", 1)
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
        assert image["alt"]


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_names_and_reasons_are_escaped(done, evil):
    done.record("search", accuracy=None, state="fail", reason=evil, host=evil, device=evil)
    done.record("family", attributes={"member": evil, "baseline": done.baseline.key})
    text = report(done)
    assert evil not in text
    assert len(Page(text).all("script")) == 4  # the page's own
    assert all("onerror" not in image for image in Page(text).all("img"))


def test_equal_contents_give_equal_files(done):
    def files():
        write_report(done.folder)
        return {f: f.read_bytes() for f in done.folder.path.rglob("*") if f.is_file()}

    assert files() == files()


def test_the_page_names_no_place_on_this_machine(done):
    assert str(done.folder.path.parent) not in report(done)


def test_the_familys_table_for_a_terminal_has_a_line_a_member(done):
    lines = result_text(done.folder).splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["hand_b0", "hand_b1"]
    assert "2,100,000" in lines[3]
    assert lines[-1] == "FLOPs are multiply-adds."


def test_the_familys_table_says_so_when_there_is_none(searched):
    assert f"`scaler train {searched.folder.path}` trains" in result_text(searched.folder)
    (searched.folder.path / "baseline.yaml").unlink()
    assert result_text(searched.folder) == "no baseline has been found yet"


def test_the_page_is_small_enough_to_be_sent(done):
    assert len(report(done).encode()) < 8 * MIB


def test_charts_in_the_page_are_json_with_what_is_missing_as_null(done):
    done.record("search", accuracy=None, state="fail", reason="OSError: full")
    text = report(done)
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', text)
    data = json.loads(found[1])
    assert set(data["charts"]) >= {"flops_accuracy-0", "family-0", "family-1"}
    rows = [
        dict(zip([c["name"] for c in data["trials"]["columns"]], row, strict=True))
        for row in data["trials"]["rows"]
    ]
    assert [row["number"] for row in rows] == [0, 1, 2, 3]
    assert rows[3]["reward"] is None
    assert rows[3]["reason"] == "OSError: full"


def test_the_first_screen_has_four_tiles_and_the_commands_that_come_next(done):
    tables = make_tables(done.folder)
    baseline, cost, accuracy, best = tiles(done.folder, tables)
    assert baseline.value == done.baseline.name
    assert baseline.picture.count("<rect ") == 2 + len(done.baseline.stages)  # stem and head
    flops = sum(row.flops for row in stage_rows(done.baseline, **data_sizes(done.folder)))
    assert cost.share == min(1, flops / done.folder.config.search.known_target)
    assert "of the budget of" in cost.note
    assert accuracy.note.endswith("one seed: its noise is not known")
    assert best.value == "hand_b0"  # of two equals the cheaper one
    text = report(done)
    for what, command in commands(done.folder):
        assert what in text
        assert command in text
        assert command.startswith("scaler ")
        assert str(done.folder.path) not in command
    assert "take what follows as a hint" not in text  # there are no importances of one trial


def test_the_noise_of_the_first_screen_is_the_confirmations(repeated):
    folder, baseline = repeated.folder, repeated.baseline
    winner = baseline.replace(head=baseline.head.replace(channels=40))  # as #1 has it
    folder.write_baseline(winner)
    notes = [tile.note for tile in tiles(folder, make_tables(folder))]
    assert any(note.startswith("± 1.4 points over 2 seeds of ") for note in notes)


def test_the_overview_draws_known_networks_and_the_family_beside_the_search(repeated):
    attributes = {"contender": "cifar_resnet20", "round": 2}
    for accuracy in (0.7, 0.74):
        repeated.record("known", accuracy=accuracy, flops=900_000, attributes=attributes)
    tables = make_tables(repeated.folder)
    members = tables["family"][tables["family"]["state"] == "complete"]
    figure = overview(tables["trials"], members, metric="accuracy", winner="#1")
    assert figure is not None
    marks = {mark.name.split(",")[0]: mark for mark in figure.panels[0].marks}
    known, again = marks["known networks"], marks["the baseline"]
    assert (known.y[0], known.low[0], known.high[0]) == (pytest.approx(0.72), 0.7, 0.74)
    assert (again.y[0], again.low[0], again.high[0]) == (pytest.approx(0.91), 0.9, 0.92)
    assert "search" in marks


def test_a_run_whose_space_is_a_file_that_is_gone_has_a_report(searched):
    config = searched.folder.config
    gone = config.replace(search=config.search.replace(space="gone/away.yaml"))
    searched.folder = RunFolder(searched.folder.path, gone)
    assert "MBConv3, k5x5, SE 0.25" in report(searched)
