"""Wrong values of every option of every command, taken from the command tree itself.

A new option is tried without a line here. What passes all checks is stopped where the work begins.
"""

import sys

import click
import pytest

from experiments.cli import _status, cli
from experiments.config.messages import speaking

# What a command needs beside the option that is tried. A new command needs a line here.
NETWORK = "cifar_resnet20"
ARGUMENTS = {
    "coefficients": [NETWORK],
    "compare": [NETWORK],
    "cost": [NETWORK],
    "demo": [],
    "doctor": [],
    "export": [NETWORK, "-o", "out"],
    "latency": [NETWORK, "cifar_resnet32", "cifar_resnet44", "cifar_resnet56", "mobilenet_v1"],
    "list": [],
    "predict": ["nosuch", "nosuch"],
    "proxy": [],
    "report": ["nosuch"],
    "run": ["--config", "digits"],
    "scale": [NETWORK, "--target-flops", "5e7"],
    "schema": [],
    "search": [],
    "show": [NETWORK],
    "train": [NETWORK, "--epochs", "1"],
}
HUGE = "1" + "0" * 30
# Where these are right: a rate or exponent of 0, a seed of 0, no limit, and a negative phi shrinks.
ANY_SIGN = {"--phi", "--exponent"}
FROM_ZERO = {"--seed", "--min-flops", "--freeze", "--gpus-per-worker", "--score", *ANY_SIGN}
UNLIMITED = {"--max-flops", "--max-params", "--max-activations", "--max-latency"}
# Texts that say only what to look for elsewhere, or name what is made.
MADE = {"--run", "--output", "--out", "--yaml", "--folder", "--memory", "runs"}


class Begun(BaseException):
    """All checks have passed."""


def _begin(*_args, **_settings):
    raise Begun


@pytest.fixture
def attempt(monkeypatch, capsys, tmp_path):
    """Run a command; its status (None where work would begin), lines of error, and new files."""
    for place in (
        "experiments.engine.session.ray_session",
        "experiments.training.members.run._train",
        "experiments.steps.proxies.measure_missing",
        "experiments.cli.doctor.examine",
        "scaler.latency.measure_latencies",
        "scaler.latency.measure_latency",
    ):
        monkeypatch.setattr(place, _begin)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALER_STORAGE", raising=False)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("nothing of ours\n")
    there = set(tmp_path.rglob("*"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["scaler", *arguments])
        try:
            with speaking():
                status = _status()
        except Begun:
            return None, [], []
        return status, capsys.readouterr().err.splitlines(), sorted({*tmp_path.rglob("*")} - there)

    return run


def wrong_values(parameter: click.Parameter) -> list[str]:
    """Values that no option of this type takes, by the option's own name where that matters."""
    name, kind = parameter.opts[-1], parameter.type
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        values = ["", "word", "nan", "-inf"]
        if isinstance(kind, click.types.IntParamType):
            values += ["1.5", HUGE]
        values += [] if name in ANY_SIGN else ["-1"]
        values += [] if name in FROM_ZERO else ["0"]
        return values + ([] if name in UNLIMITED else ["inf"])
    if isinstance(kind, click.Choice):
        return ["", "nosuch"]
    if name in MADE:
        takes_folders = isinstance(kind, click.Path) and kind.dir_okay
        return ["", "file.txt" if takes_folders else "folder"]
    return ["", "nosuch", "missing/file.yaml", "folder", "file.txt", "/proc/1/nothing"]


PARAMETERS = [
    (command, parameter)
    for command, found in cli.commands.items()
    for parameter in found.params
    if not getattr(parameter, "is_flag", False)
]


@pytest.mark.parametrize(
    ("command", "parameter"),
    PARAMETERS,
    ids=[f"{command}-{parameter.opts[-1]}" for command, parameter in PARAMETERS],
)
def test_a_wrong_value_is_told_in_a_line_and_writes_nothing(attempt, command, parameter):
    base, name = ARGUMENTS[command], parameter.opts[-1]
    for value in wrong_values(parameter):
        if parameter.param_type_name == "argument":
            given = [value, *base[1:]] if base else [value]
        else:
            given = [*base, name, value]
        status, lines, written = attempt(command, *given)
        case = f"scaler {command} {' '.join(given)!r}: {lines}"
        assert status == 2, case
        assert 1 <= len(lines) <= 2, case
        assert not written, case


def test_every_command_is_tried():
    assert sorted(ARGUMENTS) == sorted(cli.commands)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "resnet18", "--epochs", "1", "--resolution", "8"],
        ["show", "resnet18", "--resolution", "8"],
        ["cost", "resnet18", "--resolution", "8"],
        ["latency", "resnet18", "--resolution", "8"],
        ["search", "--space", "residual", "--resolution", "2"],
    ],
)
def test_an_image_too_small_for_a_network_is_told_with_the_place(attempt, arguments):
    status, (line,), written = attempt(*arguments)
    assert (status, written) == (2, [])
    assert "px" in line
    assert "resolution" in line


def test_limits_that_no_direction_keeps_are_told_and_nothing_is_written(attempt):
    few = ("--set", "coefficients.step=0.5", "--set", "coefficients.tolerance=0.6")
    status, lines, written = attempt("coefficients", NETWORK, "--max-ram", "1B", *few)
    assert (status, written) == (2, [])
    assert "directions can be scaled" in lines[-1]
