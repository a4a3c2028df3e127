"""`scaler export`, `show --code`, `doctor` and shell completion, as their users meet them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.shell_completion import BashComplete, ShellComplete

from experiments.cli import cli, doctor
from experiments.cli.options import known_architectures
from experiments.export import load_exported
from search_spaces import list_architectures


def test_export_writes_a_folder_that_loads(scaler, tmp_path):
    out = tmp_path / "out"
    status, text, _ = scaler(
        "export", "cifar_resnet20", "-o", out, "--num-classes", 10, "--seed", 4, "--json"
    )
    assert status == 0
    names = {os.path.basename(file) for file in json.loads(text)["files"]}
    expected = {"README.md", "architecture.yaml", "config.json", "metrics.json"}
    assert names == expected | {"model.safetensors", "preprocessing.json"}
    assert load_exported(out).network(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_show_code_prints_a_file_that_runs(scaler):
    status, out, _ = scaler("show", "cifar_resnet20", "--code", "--num-classes", 10)
    assert status == 0
    namespace: dict = {"__name__": "printed"}
    exec(out, namespace)
    assert namespace["Network"]().eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_completion_offers_architectures_that_begin_so(monkeypatch):
    words = ShellComplete(cli, {}, "scaler", "_SCALER_COMPLETE").get_completions(["show"], "eff")
    names = [word.value for word in words]
    assert {"efficientnet_b0", "efficientnet_b7"} <= set(names)
    assert all(name.startswith("eff") for name in names)
    for command in ("cost", "scale", "coefficients", "compare", "export"):
        complete = ShellComplete(cli, {}, "scaler", "_SCALER_COMPLETE")
        assert "resnet50" in [w.value for w in complete.get_completions([command], "resnet5")]
    monkeypatch.setenv("COMP_WORDS", "scaler show eff")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert "plain,efficientnet_b0" in BashComplete(cli, {}, "scaler", "_SCALER_COMPLETE").complete()


def test_completion_offers_files_where_no_name_fits():
    complete = ShellComplete(cli, {}, "scaler", "_SCALER_COMPLETE")
    (word,) = complete.get_completions(["show"], "runs/")
    assert (word.type, word.value) == ("file", "runs/")


def test_the_names_are_kept_and_found_anew_when_a_table_has_changed():
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "scaler-completion"
    assert known_architectures() == list_architectures()
    stamp = cache.read_text().splitlines()[0]
    cache.write_text(f"{stamp}\nkept")
    assert known_architectures() == ["kept"]
    cache.write_text("an older stamp\nkept")
    assert known_architectures() == list_architectures()


@pytest.fixture
def quick_ray(monkeypatch):
    monkeypatch.setattr(doctor, "_ray", lambda: "not started in this test")


@pytest.mark.usefixtures("quick_ray")
def test_the_doctor_finds_this_machine_fit_and_leaves_nothing_behind(scaler, tmp_path):
    status, out, _ = scaler("doctor", "--folder", tmp_path / "not" / "yet", "--json")
    report = json.loads(out)
    findings = {finding["name"]: finding for finding in report["findings"]}
    assert (status, report["healthy"]) == (0, True)
    assert findings["torch"]["found"] == torch.__version__.split("+")[0]
    assert findings["store"]["works"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick_ray")
def test_the_doctor_names_the_remedy_and_fails(scaler, tmp_path, monkeypatch):
    def broken(_folder):
        raise OSError("disk full")

    monkeypatch.setattr(doctor, "_store", broken)
    status, out, _ = scaler("doctor", "--folder", tmp_path)
    lines = out.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("FAILS   store"))
    assert "disk full" in lines[place]
    assert "-> name a folder on a local disk" in lines[place + 1]
    assert status == 1


def test_the_doctor_tells_cards_their_speed_and_how_many_trials_each_takes(monkeypatch):
    card = SimpleNamespace(name="H100", total_memory=80 * 10**9)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *size, **_: ones(*size))
    monkeypatch.setattr(doctor, "_matmul_rate", lambda _: 5e14)
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: set(range(6)))
    told = doctor._devices()
    assert "6 CPU cores, H100 (80 GB), H100 (80 GB), CUDA" in told
    assert "a matmul ran at 500 TFLOP/s" in told
    assert told.endswith("would train 3 networks on each")


def test_a_matmul_that_is_wrong_is_told(monkeypatch):
    zeros = torch.zeros
    monkeypatch.setattr(torch, "ones", lambda *size, **how: zeros(*size, **how))
    with pytest.raises(RuntimeError, match="a matmul on cpu gives 0"):
        doctor._matmul_rate("cpu", seconds=0.0)


def test_an_old_or_missing_package_is_found(monkeypatch):
    wanted = ["torch>=999", "nowhere-to-be-found>=1", 'onnx-nowhere; extra == "export"']
    monkeypatch.setattr(doctor, "requires", lambda _name: wanted)
    old, missing, optional = doctor._packages()
    assert not old.works
    assert ">=999 is needed" in old.found
    assert (missing.needed, missing.remedy) == (True, "pip install 'nowhere-to-be-found>=1'")
    assert (optional.needed, optional.remedy) == (False, "pip install 'scaler-nas[export]'")


@pytest.mark.slow
def test_the_doctor_starts_ray_and_ends_it(tmp_path):
    command = [sys.executable, "-m", "experiments", "doctor", "--folder", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert "an embedded Ray ran a task" in result.stdout
    assert result.returncode == 0, result.stdout


@pytest.mark.usefixtures("quick_ray")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_command_prints_colour(scaler, tmp_path, monkeypatch, no_color):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", no_color)
    for arguments in (["list"], ["show", "cifar_resnet20"], ["doctor", "--folder", tmp_path]):
        _, out, err = scaler(*arguments)
        assert "\x1b" not in out + err
