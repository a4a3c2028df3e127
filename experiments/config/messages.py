"""What a command says while it works, on standard error: standard output is the result's alone.

Chosen once by the command: for a person (`auto`, a live view where standard error is a terminal),
only errors (`quiet`), or for a program (`json`, one JSON object a line; see docs/progress.md).
"""

import datetime
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TextIO, TypeVar

from experiments.config.units import readable_seconds
from search_spaces.errors import one_line

Mode = Literal["auto", "quiet", "json"]
_T = TypeVar("_T")

_PROGRESS_SECONDS = 10.0  # between two lines that say how far something is

_mode: Mode = "auto"
_said: set[str] | None = None  # by `say_once`, within the outermost `speaking`


class WorkFailed(RuntimeError):  # noqa: N818, it reads as what it is
    """The input was right, but the work came to nothing: the command ends with exit status 1."""


@contextmanager
def speaking(mode: Mode = "auto") -> Iterator[None]:
    """Speak like this for a while, unless something within chooses otherwise."""
    global _mode, _said
    before, stream, show, said = _mode, sys.stderr, warnings.showwarning, _said
    _said = set() if said is None else said
    speak(mode)
    try:
        yield
    finally:
        if isinstance(sys.stderr, _Foreign):
            sys.stderr.finish()
        _mode, sys.stderr, warnings.showwarning = before, stream, show
        _said = said


def speak(mode: Mode) -> None:
    """Choose, until the `speaking` around it ends. In `json` what libraries write is an event."""
    global _mode
    _mode = mode
    if mode == "json" and not isinstance(sys.stderr, _Foreign):
        sys.stderr = _Foreign(sys.stderr)
    if mode == "quiet":
        warnings.showwarning = lambda *_, **__: None


def say(line: str) -> None:
    """A line for people; in `json` the event `message`."""
    line = one_line(line)
    event("message", line=line, text=line)


def say_once(line: str, *, key: str | None = None) -> None:
    """A line that a command says the first time only; lines with an equal `key` are the same."""
    if _said is not None and (key or line) in _said:
        return
    if _said is not None:
        _said.add(key or line)
    say(line)


def warn(line: str) -> None:
    """Something that the user should know of; in `json` the event `warning`."""
    line = one_line(line)
    event("warning", line=f"warning: {line}", text=line)


def complain(line: str, *, status: int) -> None:
    """An error, which is told in every mode."""
    if _mode == "json":
        event("error", line=line, text=line, status=status)
    else:
        print(line, file=sys.stderr, flush=True)


def event(name: str, /, *, line: str | None = None, **fields: Any) -> None:
    """Something has happened: `line` is for people, the fields are for programs."""
    if _mode == "json":
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        record = {"event": name, "time": now, **fields}
        print(json.dumps(record, default=str), file=_own(), flush=True)
    elif _mode == "auto" and line is not None:
        print(line, file=sys.stderr, flush=True)


def told_now_and_then(things: Iterable[_T], count: int, *, what: str) -> Iterator[_T]:
    """Each of `count` things; now and then a line says how many are done, and how long the rest is.

    In `what` stands `{}` for `120 of 300`.
    """
    began = last = time.monotonic()
    for done, thing in enumerate(things, start=1):
        yield thing
        if (now := time.monotonic()) - last > _PROGRESS_SECONDS and done < count:
            last = now
            left = readable_seconds((count - done) * (now - began) / done)
            say(f"{what.format(f'{done:,} of {count:,}')}, {left} left")


def shows_live_view() -> bool:
    """Whether standard error is a terminal that can redraw a few lines."""
    dumb = os.environ.get("TERM", "dumb") in ("dumb", "unknown", "")
    return _mode == "auto" and sys.stderr.isatty() and not dumb


def _own() -> TextIO:
    return sys.stderr.stream if isinstance(sys.stderr, _Foreign) else sys.stderr


class _Foreign(io.TextIOBase):
    """Standard error for the libraries: each line that they write is an event `output`."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._begun = ""

    def write(self, text: str) -> int:
        """Tell each line that is whole; the rest waits for its end."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line.strip():
                event("output", text=line)
        return len(text)

    def finish(self) -> None:
        """Tell what is left without an end of line."""
        self.write("\n")

    def fileno(self) -> int:
        """The stream's own number, which faulthandler and child processes ask for."""
        return self.stream.fileno()
