"""The benchmark that needs a GPU runs all of its parts tiny on a CPU."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.benchmarks import gpu
from experiments.benchmarks.parts import gpu_parts


@pytest.mark.slow  # four processes begin
@pytest.mark.timeout(600)
def test_every_part_of_the_smoke_run_gives_figures():
    command = [sys.executable, "-m", "experiments.benchmarks.gpu", "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    parts = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert set(parts) == set(gpu.PARTS)
    assert done.stderr.count(": done after") == len(gpu.PARTS)
    assert "'trials at a time': 2" in parts["gpu_sharing"]
    assert "'x airbench'" in parts["gpu_cifar"]


def test_all_parts_together_stay_below_ten_minutes():
    assert sum(part.limit for part in gpu.PARTS.values()) < 600


def _gone(status):
    """Whether the process is no more, or only its entry is; looked at a tenth of a second on."""
    try:
        if "\tZ" in status.read_text():
            return True
    except (FileNotFoundError, ProcessLookupError):
        return True
    time.sleep(0.1)
    return False


def test_a_part_that_hangs_is_stopped_with_what_it_started_and_the_others_run(
    monkeypatch, tmp_path
):
    monkeypatch.setitem(gpu.PARTS, "gpu_peak", gpu.PARTS["gpu_peak"]._replace(limit=2.0))
    hanging = f"{tmp_path}/python"
    Path(hanging).write_text(f"#!/bin/sh\nsleep 300 &\necho $! > {tmp_path}/child\nwait\n")
    Path(hanging).chmod(0o755)
    monkeypatch.setattr(sys, "executable", hanging)
    assert gpu._apart("gpu_peak", []).startswith("gpu_peak: STOPPED at its limit after 2 s")
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/status")
    assert any(_gone(child) for _ in range(100))  # a killed process takes a moment to go
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert gpu._apart("gpu_peak", []).startswith("gpu_peak: FAILED (status 1)")


def test_each_row_is_kept_as_soon_as_it_is_there(monkeypatch, tmp_path):
    def measure(**_):
        yield {"row": 1}
        raise RuntimeError("killed in the second row")

    monkeypatch.setitem(gpu.PARTS, "gpu_peak", gpu.Part(measure, "A note.", 9))
    args = argparse.Namespace(smoke=False, data=None, out=tmp_path)
    with pytest.raises(RuntimeError, match="second row"):
        gpu.run_part("gpu_peak", args)
    kept = json.loads((tmp_path / "gpu_peak.json").read_text())
    assert kept["rows"] == [{"row": 1}]
    assert {"cpu", "torch"} <= set(kept["machine"])


def test_small_shared_memory_leaves_the_plain_loop_fewer_processes(monkeypatch):
    usage = type("Usage", (), {"free": 64 * 2**20})
    monkeypatch.setattr(gpu_parts.shutil, "disk_usage", lambda _: usage)
    assert gpu_parts.loader_workers(128 * 3 * 224**2 * 4) == 0


def test_the_goal_ends_a_training(monkeypatch):
    monkeypatch.setattr(gpu_parts, "GOAL", 0.0)
    (row,) = gpu_parts.cifar_94("digits", device="cpu", smoke=True)
    assert (row["epochs"], row["reached"]) == (1, True)


@pytest.mark.parametrize(
    ("card", "peak"),
    [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("T4", None)],
)
def test_a_cards_peak_is_its_data_sheets(card, peak):
    assert gpu_parts._peak_of(card) == peak
