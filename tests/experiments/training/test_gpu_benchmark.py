"""The benchmark that needs a GPU runs all of its parts tiny on a CPU."""

import subprocess
import sys

import pytest

from experiments.benchmarks import gpu


@pytest.mark.slow  # four processes begin
@pytest.mark.timeout(600)
def test_every_part_of_the_smoke_run_gives_figures():
    command = [sys.executable, "-m", "experiments.benchmarks.gpu", "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    parts = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert {"gpu_peak", "gpu_rates", "gpu_sharing", "gpu_cifar"} <= set(parts)
    assert "'trials at a time': 2" in parts["gpu_sharing"]
    assert "'x airbench'" in parts["gpu_cifar"]


def test_the_goal_ends_a_training(monkeypatch):
    monkeypatch.setattr(gpu, "GOAL", 0.0)
    (row,) = gpu.cifar_94("digits", device="cpu", smoke=True)
    assert (row["epochs"], row["reached"]) == (1, True)


@pytest.mark.parametrize(
    ("card", "peak"),
    [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("T4", None)],
)
def test_a_cards_peak_is_its_data_sheets(card, peak):
    assert gpu._peak_of(card) == peak
