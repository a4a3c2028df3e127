"""Processes that must not outlive their trial or their run."""

import contextlib
import faulthandler
import os
import signal
from collections.abc import Iterator
from pathlib import Path


def children() -> list[int]:
    """The processes that this one started."""
    return _by_parent().get(os.getpid(), [])


def descendants(pid: int) -> list[int]:
    """The processes below `pid`."""
    below = _by_parent()
    found, waiting = [], [pid]
    while waiting:
        started = below.get(waiting.pop(), [])
        found += started
        waiting += started
    return found


def kill_children() -> None:
    """Kill every process below this one."""
    kill(descendants(os.getpid()))


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _by_parent() -> dict[int, list[int]]:
    """Parent -> children, as /proc shows them; nothing on a system that has no /proc."""
    below: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = status.read_text().rpartition(")")[2].split()
            below.setdefault(int(fields[1]), []).append(int(status.parent.name))
    return below


@contextlib.contextmanager
def exit_after(seconds: float | None) -> Iterator[None]:
    """End this process if what is inside takes longer.

    A thread in C does it: an evaluation that hangs in an extension, holding Python's lock, would
    keep any thread of Python from running.
    """
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
