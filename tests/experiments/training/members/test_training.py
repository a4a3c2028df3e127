"""`scaler train` as its users run it: stopped, killed, gone on with, on several workers."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from experiments.cli import cli
from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.engine.machines.distributed import on_workers
from experiments.export.model import checkpoint_model
from experiments.training.checkpoint import load_tensors, read_metadata
from experiments.training.members.folder import TrainingFolder, TrainRequest
from experiments.training.members.run import train_member
from search_spaces.architecture import Architecture
from search_spaces.records import InputError

RECIPE = TrainConfig(batch_size=32, learning_rate=0.05, device="cpu", ema_decay=0.9)
DIGITS = DataConfig(source="digits", train_limit=400, validation_limit=100, flip=False)


def request(tiny: Architecture, **changes: object) -> TrainRequest:
    settings = {"architecture": tiny, "data": DIGITS, "train": RECIPE, "epochs": 3}
    return TrainRequest(**{**settings, **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(TrainingFolder(folder).last)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_training_leaves_curve_checkpoints_and_pictures(tiny, tmp_path):
    trained = train_member(request(tiny), tmp_path / "run")
    rows = trained.folder.rows()
    assert list(rows["epoch"]) == [1, 2, 3]
    assert trained.accuracy == rows["accuracy"].max()
    assert rows["epoch"][rows["accuracy"].argmax()] == trained.epoch
    best = read_metadata(trained.folder.best)
    assert (best["accuracy"], best["test_accuracy"]) == (trained.accuracy, trained.test_accuracy)
    assert checkpoint_model(trained.folder.best).architecture == tiny
    drawn = sorted(path.name for path in trained.folder.figures.iterdir())
    assert drawn == ["activations.png", "curves.png", "sheet.png"]
    assert not trained.folder.state.exists()


def test_a_finished_training_is_not_trained_again(tiny, tmp_path):
    first = train_member(request(tiny), tmp_path / "run")
    before = first.folder.last.stat().st_mtime_ns
    assert train_member(request(tiny), tmp_path / "run") == first
    assert first.folder.last.stat().st_mtime_ns == before


@pytest.mark.parametrize("change", [{"epochs": 4}, {"seed": 1}, {"train": TrainConfig()}])
def test_another_training_is_refused_in_the_same_folder(tiny, tmp_path, change):
    train_member(request(tiny), tmp_path / "run")
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "run").rglob("*"))
    with pytest.raises(InputError, match=r"holds a training with .* but now it is"):
        train_member(request(tiny, **change), tmp_path / "run")
    assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "run").rglob("*")) == before


def test_a_folder_with_something_else_is_refused(tiny, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="holds no training"):
        train_member(request(tiny), tmp_path)


def test_a_killed_training_goes_on_to_the_same_weights_bit_for_bit(tiny, tmp_path, capsys):
    file = tmp_path / "tiny.yaml"
    file.write_text(tiny.to_yaml())
    options = ["--epochs", "5", "--device", "cpu", "--recipe", "modern", "--batch-size", "64"]

    def command(folder: str) -> list[str]:
        return ["train", str(file), "--run", str(tmp_path / folder), *options]

    cli.main(command("whole"), standalone_mode=False)
    program = [sys.executable, "-m", "experiments", *command("killed")]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL) as running:
        state = TrainingFolder(tmp_path / "killed").state
        while not state.exists() and running.poll() is None:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
    assert not TrainingFolder(tmp_path / "killed").finished()
    capsys.readouterr()
    cli.main(command("killed"), standalone_mode=False)
    assert "goes on after epoch" in capsys.readouterr().err
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    curves = [TrainingFolder(tmp_path / name).rows() for name in ("killed", "whole")]
    for column in ("epoch", "train_loss", "accuracy"):
        assert list(curves[0][column]) == list(curves[1][column])


# Without batch norm, whose statistics each worker has of its own images.
CONVOLUTION = {"kind": "conv", "kernel_size": 3, "norm": "none", "activation": "relu"}
PLAIN = {
    "name": "plain",
    "resolution": 8,
    "stem": {"channels": 8, "stride": 1, "block": CONVOLUTION},
    "stages": [{"channels": 16, "layers": 1, "stride": 2, "block": CONVOLUTION}],
    "head": {"channels": 0},
}


@pytest.mark.slow
def test_two_workers_train_as_one_does(tmp_path):
    plain = Architecture.parse(PLAIN, source="plain")
    recipe = TrainConfig(batch_size=32, learning_rate=0.02, device="cpu")
    asked = request(plain, train=recipe, epochs=2)
    alone = train_member(asked, tmp_path / "one")
    together = train_member(asked, tmp_path / "two", threads=1, elsewhere=on_workers(2, cpus=0.5))
    one, two = alone.folder.rows(), together.folder.rows()
    assert list(two["train_loss"]) == pytest.approx(list(one["train_loss"]), rel=1e-4)
    assert list(two["accuracy"]) == pytest.approx(list(one["accuracy"]), abs=0.011)
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, tensor in first.items():
        assert torch.allclose(second[name], tensor, atol=1e-4), name


def test_the_command_prints_the_checkpoint_and_what_to_do_next(tiny, tmp_path):
    (tmp_path / "tiny.yaml").write_text(tiny.to_yaml())
    command = ["train", str(tmp_path / "tiny.yaml"), "--epochs", "1", "--run", str(tmp_path / "r")]
    found = CliRunner().invoke(cli, command)
    assert found.exit_code == 0
    assert found.stdout.strip() == str(tmp_path / "r" / "checkpoints" / "best.safetensors")
    assert "scaler export" in found.stderr


def test_a_training_that_diverges_ends_in_one_line_and_status_1(tiny, tmp_path):
    (tmp_path / "tiny.yaml").write_text(tiny.to_yaml())
    command = [sys.executable, "-m", "experiments", "train", str(tmp_path / "tiny.yaml")]
    command += ["--epochs", "1", "--learning-rate", "1e30", "--run", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    contents, line = done.stderr.splitlines()
    assert contents.startswith("data: 'digits'")
    assert line.startswith("error: training diverged: the loss is")


def test_without_a_length_the_command_asks_for_it(tiny, tmp_path):
    (tmp_path / "tiny.yaml").write_text(tiny.to_yaml())
    found = CliRunner().invoke(cli, ["train", str(tmp_path / "tiny.yaml")])
    assert found.exit_code == 2
    assert "--epochs" in found.output
