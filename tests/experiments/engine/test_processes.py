import os
import subprocess
import sys
import time

import pytest

from experiments.engine.machines.processes import children, descendants, kill


def test_grandchildren_are_found_and_killed():
    shell = subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600; true"])
    deadline = time.monotonic() + 30
    while len(found := descendants(shell.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert shell.pid in children()
    assert set(found) < set(descendants(os.getpid()))
    kill([shell.pid, *found])  # else the shell may end by itself first
    assert shell.wait() == -9
    assert descendants(shell.pid) == []


def test_a_process_that_holds_its_lock_too_long_ends_itself():
    code = (
        "import ctypes\nfrom experiments.engine.machines.processes import exit_after\n"
        "with exit_after(0.2): ctypes.PyDLL(None).sleep(60)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr


SIGNALLED = """
import os, signal, sys
from experiments.engine.machines.processes import ending_with_signals, signals_kept
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and stays so
with ending_with_signals():
    try:
        with signals_kept():
            signal.signal(signal.SIGTERM, lambda *_: None)  # as a library does
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        signal.pause()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)  # a second one does not cut the end short
        print("in order")
"""


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_process_in_order_with_its_status(name, status):
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "in order\n", "")


SWALLOWED = """
import os, signal, sys
from experiments.engine.machines.processes import ending_with_signals, signals_kept
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and stays so
def library(*_):
    raise SystemExit(15)
with ending_with_signals():
    with signals_kept():
        signal.signal(signal.SIGTERM, library)
        try:
            os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        except BaseException:
            print("swallowed", flush=True)
    print("went on")
"""


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", -2)])
def test_a_signal_that_a_library_swallows_comes_again_at_its_end(name, status):
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED, name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (status, "swallowed\n")
