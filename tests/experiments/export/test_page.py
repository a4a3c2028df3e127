"""What docs/export.md shows runs as it stands there, in its order."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from experiments.cli import main

PAGE = Path(__file__).parents[3] / "docs" / "export.md"
ABSENT = ("runs/", ".pth", "--source", "_SCALER_COMPLETE", "> network.py")  # files of the reader's


def test_the_pages_blocks_run_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = 0
    blocks = r"(<!-- skip:[^\n]*-->\n)?```(bash|python)\n(.*?)```"
    for skipped, language, block in re.findall(blocks, PAGE.read_text(), re.DOTALL):
        if language == "python":
            exec(block, {"__name__": "page"})
            ran += 1
        elif not skipped and not any(word in block for word in ABSENT):
            monkeypatch.setattr(sys, "argv", shlex.split(block, comments=True))
            with pytest.raises(SystemExit) as caught:
                main()
            assert caught.value.code == 0
            ran += 1
    assert ran == 8
