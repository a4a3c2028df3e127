"""The code blocks of a page, and how they are run: in order, in one folder, as a reader would.

Above a block may stand, in the page itself and so for all to see:
`<!-- skip: why -->`, it is not run; `<!-- slow -->`, only `make test-all` runs it;
`<!-- with: --trials 2 -->`, its commands get these options too; `<!-- given: network -->`, a name
that the text leaves to the reader stands for something small (see GIVEN).
A `yaml` block with a title is a file of that name.
"""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from experiments.cli import main

GIVEN = {"accuracy": 0.5}
_BLOCK = re.compile(
    r"(?P<marks>(?:^<!-- (?:skip|slow|with|given)[^\n]*-->\n)*)"
    r"^```(?P<language>\w+)(?P<rest>[^\n]*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_SHELL = re.compile(r"[|<>;&$`*]")


@dataclass(frozen=True)
class Block:
    """Code with the page and line where it stands."""

    place: str
    language: str
    code: str
    title: str | None
    skip: str | None
    slow: bool
    options: str  # added to each command
    given: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    """The python, bash and titled yaml blocks of a page."""
    text, found = page.read_text(), []
    for match in _BLOCK.finditer(text):
        marks = dict(re.findall(r"<!-- (\w+):? ?(.*?) ?-->", match["marks"]))
        title = re.search(r'title="([^"]+)"', match["rest"])
        line = text.count("\n", 0, match.start("language")) + 1
        block = Block(
            place=f"{page.name}:{line}",
            language=match["language"],
            code=match["code"],
            title=title[1] if title else None,
            skip=marks.get("skip"),
            slow="slow" in marks,
            options=marks.get("with", ""),
            given=tuple(marks.get("given", "").split()),
        )
        if block.language in ("python", "bash") or block.title:
            found.append(block)
    return found


def run(page: Path, *, slow: bool) -> None:
    """Run a page's blocks in the current folder; `slow` ones too."""
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        if block.skip is not None or (block.slow and not slow):
            continue
        try:
            if block.language == "python":
                names |= {name: GIVEN[name] for name in block.given}
                exec(compile(block.code, block.place, "exec"), names)
            elif block.language == "bash":
                _run_commands(block)
            else:
                Path(str(block.title)).write_text(block.code)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{block.place}: {type(error).__name__}: {error}") from error


def _run_commands(block: Block) -> None:
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        settings = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
        command = [word for word in words if word.split("=")[0] not in settings]
        if not command:
            continue
        bare = line.split("  #")[0]
        if command[0] == "scaler" and not _SHELL.search(bare):
            _run_here([*command, *shlex.split(block.options)], settings)
        else:
            subprocess.run(
                ["bash", "-ec", bare], check=True, timeout=120, stdout=subprocess.DEVNULL
            )


def _run_here(command: list[str], settings: dict[str, str]) -> None:
    """A command without the seconds that a process of its own takes to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        for name, value in settings.items():
            patch.setenv(name, value)
        silent = contextlib.redirect_stdout(io.StringIO())
        with silent, pytest.raises(SystemExit) as left:
            main()
    if left.value.code != 0:
        raise RuntimeError(f"`{shlex.join(command)}` ends with status {left.value.code}")
