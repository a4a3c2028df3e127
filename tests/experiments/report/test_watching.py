from contextlib import ExitStack

import pytest

from experiments.report import report as watching
from experiments.report.report import watch_run
from experiments.store.run_lock import RunLock
from tests.experiments.report.test_report import Page

pytestmark = pytest.mark.usefixtures("blank")

LIVE = "The run is under way"


@pytest.fixture
def watched(searched, monkeypatch):
    """A run that a command works on; what is done between two looks is given as steps."""
    pages = []
    steps = []

    def wait(folder, seconds):  # noqa: ARG001
        pages.append(folder.report.read_text())
        steps.pop(0)()

    monkeypatch.setattr(watching, "_wait", wait)
    with ExitStack() as stack:
        stack.enter_context(RunLock(searched.folder.path))
        yield searched, pages, steps, stack.close


def test_the_page_follows_the_trials_and_ends_with_the_run(watched, capsys):
    run, pages, steps, end = watched
    steps += [lambda: run.record("search", accuracy=0.95, channels=56), end]
    path = watch_run(run.folder, every=20)
    assert [LIVE in page for page in pages] == [True, True]
    assert "2 finished" not in pages[0]
    assert "2 finished" in pages[1]
    last = path.read_text()
    assert LIVE not in last
    assert '"reload":null' in last
    assert "nobody works on the run any more" in capsys.readouterr().err


def test_nothing_is_written_while_no_trial_ends(watched):
    run, _, steps, end = watched
    stamps = []
    steps += [lambda: stamps.append(run.folder.report.stat().st_mtime_ns)] * 2 + [end]
    watch_run(run.folder, every=20)
    assert stamps[0] == stamps[1]


def test_a_reader_may_stop_watching(watched):
    run, pages, steps, _ = watched

    def interrupt():
        raise KeyboardInterrupt

    steps.append(interrupt)
    path = watch_run(run.folder, every=20)
    assert LIVE in pages[0]
    assert LIVE not in path.read_text()


def test_a_page_under_way_reads_itself_again(watched):
    run, pages, steps, end = watched
    steps.append(end)
    watch_run(run.folder, every=20)
    assert '"reload":20' in pages[0]
    assert any(meta.get("content") == "20" for meta in Page(pages[0]).all("meta"))


def test_a_run_that_nobody_works_on_is_written_once(searched, capsys):
    path = watch_run(searched.folder, every=20)
    assert LIVE not in path.read_text()
    assert "nobody works on the run" in capsys.readouterr().err
