"""Processes that must not outlive their trial or their run."""

import contextlib
import faulthandler
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

ENDING = (signal.SIGTERM, signal.SIGHUP)  # what a scheduler, a container, a closed terminal sends


_received: list[int] = []


class Terminated(SystemExit):
    """A signal ends this process in order; its exit status is 128 and the signal's number."""


def status_of_signal() -> int | None:
    """The exit status that a signal of ENDING asks for; None where none has come."""
    return 128 + _received[0] if _received else None


@contextlib.contextmanager
def ending_with_signals() -> Iterator[None]:
    """Let the signals of ENDING end what is inside in order, as Ctrl-C does, with Terminated.

    A signal that the user ignores (nohup) or handles stays as it is.
    """
    if threading.current_thread() is not threading.main_thread():  # only that has handlers
        yield
        return
    ours = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _end)
    try:
        yield
    except BaseException:  # Ray may have made another error of it
        if (status := status_of_signal()) is not None:
            raise Terminated(status) from None
        raise
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _frame: object) -> None:
    for each in ENDING:  # a second one would cut the end short
        signal.signal(each, signal.SIG_IGN)
    _received.append(number)
    raise KeyboardInterrupt  # the one that Ray and Tune know; of a SystemExit they make another


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """Put the handlers of signals back that what is inside replaces, and lose no signal meanwhile.

    A library's handler, or an `except` that takes everything, may swallow a signal: it then comes
    again at the end. Python writes each signal that comes to the pipe, whoever handles it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    earlier = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        replaced = {n for n, handler in before.items() if signal.getsignal(n) != handler}
        for number, handler in before.items():
            if handler is not None:  # of C, which Python cannot put back
                signal.signal(number, handler)
        signal.set_wakeup_fd(earlier)
        came = _read(reader)
        os.close(reader)
        os.close(writer)
        for number, handler in before.items():
            # The user's own handler, where it stayed, has been called already.
            unseen = number in replaced or handler in (_end, signal.default_int_handler)
            if number in came and unseen:
                signal.raise_signal(number)


def _read(pipe: int) -> set[int]:
    try:
        return set(os.read(pipe, 1000))
    except BlockingIOError:  # nothing came
        return set()


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
    """Kill these processes; those that have ended, or are another user's, are left alone."""
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
