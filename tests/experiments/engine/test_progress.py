"""What is seen while trials run: on a terminal, in a file, as JSON, and when quiet."""

import io
import json
import os
import re
from dataclasses import replace

import pytest
from rich.console import Console

from experiments import search
from experiments.config import messages
from experiments.engine.progress import LiveView, Progress
from experiments.store.trial import Candidate, EpochResult, Trial
from scaler import Cost
from tests.terminal import on_a_terminal

SIZES = {"num_classes": 10, "in_channels": 1}

SEARCH = """
import os, sys, time
from pathlib import Path
from experiments import SearchConfig, search

LOST = Path(sys.argv[1]) / "lost"

def evaluate(architecture, *, report, seed, checkpoint_dir):
    if seed == 1 and not LOST.exists():
        LOST.touch()
        os._exit(3)
    print("a trial's own noise")
    print("a trial's own noise", file=sys.stderr)
    if seed == 2:
        raise ValueError("out of luck")
    time.sleep(1)  # long enough to be seen running: the view is drawn four times a second
    report(1, 0.25)
    return 0.5

if __name__ == "__main__":
    os.chdir(sys.argv[1])
    config = SearchConfig.load("digits").replace(run="run", confirmation=None)
    section = config.search.replace(trials=4, epochs=1, sampler="random", early_stopping=None)
    config = config.replace(search=section, cluster={"workers": 1})
    search(config, evaluate=lambda a, **rest: evaluate(a, **rest), num_classes=10, in_channels=1)
"""


@pytest.fixture
def evaluate():
    def trained(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        if seed == 1:
            raise ValueError("out of luck")
        report(1, 0.25)
        return 0.5

    return trained


@pytest.fixture
def candidate(small):
    return Candidate(architecture=small, cost=Cost(2_000_000, 1, 1), seed=0, suggestion=7)


@pytest.mark.slow
def test_a_terminal_shows_the_search_alive_and_nothing_else(tmp_path):
    """A failed trial and a lost worker among them: Ray, Optuna and the trials stay silent."""
    script = tmp_path / "own.py"
    script.write_text(SEARCH)
    environment = {"TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join([os.getcwd()])}
    status, shown = on_a_terminal(script, tmp_path, **environment)
    assert status == 0
    assert "1 running" in shown
    assert shown.rstrip("\x1b[0m\r\n").count("\x1b[?25l") == shown.count("\x1b[?25h")  # the cursor
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n")
    lines = {line.strip() for line in plain.splitlines()} - {""}
    foreign = [
        line
        for line in lines
        if not re.match(r"search\b|\d+ running|best |running: |proposed: ", line)
    ]
    assert foreign == []
    assert any("fail" in line and "ValueError: out of luck" in line for line in lines)
    assert any(re.match(r"search: 3 complete, 1 fail in ", line) for line in lines)


def test_the_json_log_is_an_object_a_line(ray, config, evaluate, capsys):  # noqa: ARG001
    few = config.replace(search=config.search.replace(trials=4, epochs=1))
    with messages.speaking("json"):
        trials = search(few, evaluate=evaluate, **SIZES).trials
    out, err = capsys.readouterr()
    told = [json.loads(line) for line in err.splitlines()]
    events = [event for event in told if event["event"] != "message"]
    assert out == ""
    assert (events[0]["event"], events[-1]["event"]) == ("study_started", "study_ended")
    assert events[-1]["complete"] == 3
    assert events[-1]["fail"] == 1
    ended = {one["label"]: one for one in events if one["event"] == "trial_ended"}
    assert [ended[f"#{n}"]["flops"] for n in trials.number] == trials.flops.tolist()
    assert {one["seconds_left"] >= 0 for one in ended.values()} == {True}
    assert next(one["reason"] for one in ended.values() if one["state"] == "fail") == (
        "ValueError: out of luck"
    )


def test_how_far_something_is_is_said_now_and_then_but_not_at_its_end(monkeypatch, capsys):
    monkeypatch.setattr(messages, "_PROGRESS_SECONDS", -1)
    told = messages.told_now_and_then("abc", 3, what="decoded {} images")
    assert "".join(told) == "abc"
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"decoded {n} of 3 images, 0 s left" for n in (1, 2)]


def test_quiet_says_nothing_and_a_file_gets_a_line_a_trial(ray, config, evaluate, capsys):  # noqa: ARG001
    few = config.replace(search=config.search.replace(trials=2, epochs=1))
    with messages.speaking("quiet"):
        search(few, evaluate=evaluate, **SIZES)
    assert capsys.readouterr() == ("", "")
    search(few.replace(search=few.search.replace(trials=3)), evaluate=evaluate, **SIZES)
    out, err = capsys.readouterr()
    assert out == ""
    err = "".join(line for line in err.splitlines(True) if re.match(r"search \d", line))
    assert re.match(r"search 3/3  #2 complete  accuracy 0\.5000 .* best 0\.\d{4}  0 s left\n", err)
    assert "\x1b" not in err


def test_what_a_library_writes_becomes_an_event(capsys):
    import sys

    with messages.speaking("json"):
        sys.stderr.write("half a ")
        sys.stderr.write("line\nand no end")
        messages.complain("error: no such thing", status=2)
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(one["event"], one["text"]) for one in events] == [
        ("output", "half a line"),
        ("error", "error: no such thing"),
        ("output", "and no end"),
    ]


def test_time_left_counts_the_epochs_of_running_trials(monkeypatch, candidate):
    """One of 4 trials took 10 s and a second is half done after 15: 25 s are left at that pace."""
    now = 0.0
    monkeypatch.setattr("experiments.engine.progress.time.monotonic", lambda: now)
    progress = Progress("search", total=4, epochs=2)
    with messages.speaking("quiet"):
        progress.started(candidate)
        now = 10.0
        progress.ended(Trial(candidate).ended("complete", 0.5))
        now = 15.0
        progress.told(replace(candidate, suggestion=8), EpochResult(1, 0.4))
    assert progress.seconds_left() == pytest.approx(25)
    now = 16.0
    assert progress.seconds_left() == pytest.approx(24)


def drawn(progress, **settings):
    """The live view as text, 60 columns wide."""
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=True, **settings)
    console.print(LiveView(progress).lines())
    return file.getvalue()


@pytest.fixture
def progress(candidate):
    progress = Progress("search", total=4, epochs=3)
    progress.screened_by = {"outside": 5}
    with messages.speaking("quiet"):
        for state in ("complete", "pruned", "fail"):
            progress.started(candidate)
            progress.ended(Trial(candidate).ended(state, 0.5))
        progress.told(candidate, EpochResult(2, 0.75))
    return progress


def test_the_view_counts_what_became_of_the_trials(progress):
    text = re.sub(r"\x1b\[[0-9;]*m", "", drawn(progress))
    assert "3/4" in text
    assert "1 running  1 done  1 stopped  1 failed  5 screened out" in text
    assert "best 0.5000: #0, accuracy 0.5000, 2 MFLOPs" in text
    assert "running: epoch 2 of 3, accuracy 0.7500" in text


def test_no_color_is_respected(progress, monkeypatch):
    assert re.search(r"\x1b\[3[0-9]", drawn(progress))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", drawn(progress))


@pytest.mark.parametrize(
    ("term", "terminal", "alive"),
    [("tmux-256color", True, True), ("dumb", True, False), ("xterm", False, False)],
)
def test_only_a_terminal_that_can_redraw_has_the_view(monkeypatch, term, terminal, alive):
    """A notebook's standard error is no terminal."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    assert messages.shows_live_view() is alive
