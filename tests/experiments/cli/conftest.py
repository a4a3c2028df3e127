"""The command, run in the process of its tests."""

import sys

import pytest

from experiments.cli import main


@pytest.fixture
def scaler(monkeypatch, capsys):
    """Run the command in this process; its exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["scaler", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run
