"""The package as pip installs it: whole, and typed for those who use it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("experiments", "scaler", "search_spaces")
CLIENT = """
from pathlib import Path

from experiments import SearchConfig, load_trials, search
from scaler import CompoundCoefficients, Cost, measure_cost, scale_to_flops
from search_spaces import Architecture, build_network, load_architecture

network: Architecture = load_architecture("efficientnet_b0")
cost: Cost = measure_cost(network, num_classes=10)
flops: int = cost.flops
rule = CompoundCoefficients()
bigger: Architecture = scale_to_flops(network, target_flops=1e9, coefficients=rule).architecture
model = build_network(bigger, num_classes=10)
config = SearchConfig.load("digits")
best: Architecture = search(config).best
frame = load_trials(Path("runs/digits"))
print(frame["reward"].max(), model, flops, best)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's content in a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    built = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    source = folder / "source"
    source.mkdir()
    kept = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, kept.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*built, str(source)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(installed):
    kept = subprocess.run(
        ["git", "ls-files", "-z", *PACKAGES], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    wanted = {name for name in kept.split("\0") if name and "benchmarks/results/" not in name}
    there = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert wanted - there == set()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_installed_command_needs_no_checkout(installed, tmp_path):
    place = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    words = "search --config digits --run run --trials 2 --epochs 1 --set confirmation=null"
    code = "import sys, experiments.cli as c; print(c.__file__); sys.argv[0] = 'scaler'; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()],
        cwd=tmp_path,
        env=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(str(installed))
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
def test_a_users_program_passes_mypy_strict(installed, tmp_path):
    (tmp_path / "client.py").write_text(CLIENT)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "client.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.stdout.startswith("Success"), checked.stdout
