"""Processes that must not outlive their trial or their run."""

import contextlib
import faulthandler
import os
import signal
from collections.abc import Iterator
from pathlib import Path


def descendants(pid: int | None = None) -> list[int]:
    """The processes below this one, or below `pid`, as /proc shows them; none where it is not."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = status.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, waiting = [], [pid or os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def kill_children() -> None:
    """Kill every process below this one."""
    kill(descendants())


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


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
