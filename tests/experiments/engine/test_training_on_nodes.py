"""One training over two nodes, neither of which sees the folder that it is kept in."""

import subprocess
import sys
from contextlib import ExitStack

import pytest

from experiments.training.members.folder import TrainingFolder
from tests.experiments.engine.clusters import can_seal, environment, started

TOKEN = "0123456789abcdef" * 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_nodes_train_one_network_and_the_command_keeps_it(tiny, tmp_path):
    (tmp_path / "tiny.yaml").write_text(tiny.to_yaml())
    command = [sys.executable, "-m", "experiments", "train", str(tmp_path / "tiny.yaml")]
    command += ["--data", "digits", "--epochs", "2", "--run", str(tmp_path / "run")]
    with ExitStack() as stack:
        head = stack.enter_context(started("--num-cpus=0", token=TOKEN))
        join = {"address": head.address, "token": TOKEN}
        join["hidden"] = tmp_path if can_seal() else None
        for _ in range(2):  # one CPU each, so that the workers lie on both
            stack.enter_context(started("--num-cpus=1", **join))
        done = subprocess.run(
            [*command, "--address", head.address, "--workers", "2"],
            env=environment(token=TOKEN),
            capture_output=True,
            text=True,
            timeout=500,
        )
    assert done.returncode == 0, done.stderr
    folder = TrainingFolder(tmp_path / "run")
    assert list(folder.rows()["epoch"]) == [1, 2]
    assert folder.finished()
