"""`scaler doctor`: what a run needs of this machine, each thing tried, with the remedy."""

import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.cli.options import CheckedCommand, json_option, print_json

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_PACKAGE = "scaler-nas"


@click.command("doctor", cls=CheckedCommand)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where runs are to be written; this folder by default.",
)
@json_option
def doctor_command(folder: Path, as_json: bool) -> int:
    """Try versions, devices, write access, the store and Ray; say what to do where one fails.

    Exit status 0 if all that a run needs works, 1 otherwise.
    """
    findings = []
    for finding in examine(folder):
        findings.append(finding)
        if as_json:
            continue
        state = "ok" if finding.works else ("FAILS" if finding.needed else "missing")
        click.echo(f"{state:<8}{finding.name:<16}{finding.found}")
        if not finding.works:
            click.echo(f"{'':<24}-> {finding.remedy}")
    healthy = all(finding.works for finding in findings if finding.needed)
    if as_json:
        print_json({"healthy": healthy, "findings": [vars(finding) for finding in findings]})
    else:
        told = "All that a run needs works." if healthy else "Some of what a run needs fails."
        click.echo(f"\n{told}")
    return 0 if healthy else 1


@dataclass(frozen=True)
class Finding:
    """One thing that works or does not; without `needed` things a run can do its work."""

    name: str
    works: bool
    found: str
    remedy: str = ""
    needed: bool = True


def examine(folder: Path) -> Iterator[Finding]:
    """Try everything in turn, slowest last.

    Files are written in `folder`, or in the nearest one above it that exists, and taken away again.
    """
    folder = next(
        place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir()
    )
    yield _python()
    yield from _packages()
    yield _tried("devices", _devices, "reinstall torch and torchvision from one place")
    writable = _tried(
        "write access", lambda: _write(folder), "name a folder that can be written to with --folder"
    )
    yield writable
    if writable.works:
        remedy = "name a folder on a local disk with --folder; network file systems lock badly"
        yield _tried("store", lambda: _store(folder), remedy)
    yield _data()
    yield _tried("ray", _ray, "`pip install 'ray[tune]'`; see that nothing blocks local ports")


def _python() -> Finding:
    works = sys.version_info >= (3, 11)
    return Finding("python", works, platform.python_version(), "use Python 3.11 or later")


def _packages() -> Iterator[Finding]:
    """Those that the installed package asks for, the optional ones as such."""
    from packaging.requirements import Requirement

    try:
        listed = requires(_PACKAGE) or []
    except PackageNotFoundError:
        yield Finding("packages", False, f"{_PACKAGE} is not installed", "pip install -e .")
        return
    for requirement in map(Requirement, listed):
        marker = requirement.marker
        extra = re.search(r'extra == "(\w+)"', str(marker)) if marker else None
        if requirement.name == _PACKAGE or (extra and extra[1] == "dev"):
            continue
        if marker and not marker.evaluate({"extra": extra[1] if extra else ""}):
            continue
        yield _package(requirement, extra=extra[1] if extra else None)


def _package(requirement: "Requirement", *, extra: str | None) -> Finding:
    wanted = f"{requirement.name}{requirement.specifier}"
    remedy = f"pip install '{_PACKAGE}[{extra}]'" if extra else f"pip install '{wanted}'"
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return Finding(requirement.name, False, "not installed", remedy, needed=extra is None)
    fits = requirement.specifier.contains(found, prereleases=True)
    told = found if fits else f"{found}, but {requirement.specifier} is needed"
    return Finding(requirement.name, fits, told, remedy, needed=extra is None)


def _tried(name: str, attempt: Callable[[], str], remedy: str) -> Finding:
    """`attempt` returns what it found, or raises whatever the libraries raise."""
    try:
        return Finding(name, True, attempt(), remedy)
    except Exception as error:  # a doctor reports any illness
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        return Finding(name, False, reason, remedy)


def _devices() -> str:
    """A convolution is run on the device that `train.device: auto` takes."""
    import torch

    from scaler.conditions import find_device

    device = find_device("auto")
    ones = torch.ones(1, 1, 3, 3, device=device)
    torch.nn.functional.conv2d(ones, ones)
    cores = f"{len(os.sched_getaffinity(0))} CPU cores"
    if device.type != "cuda":
        return f"{cores}, no GPU that torch can use"
    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    gpus = ", ".join(f"{card.name} ({card.total_memory / 1e9:.0f} GB)" for card in cards)
    teraflops = min(_matmul_rate(f"cuda:{i}") for i in range(len(cards))) / 1e12
    told = f"{cores}, {gpus}, CUDA {torch.version.cuda}; a matmul ran at {teraflops:.0f} TFLOP/s"
    trials = _trials_a_card(min(card.total_memory for card in cards), len(cards))
    return f"{told}; a search of mbconv_small at 32 px would train {trials} networks on each"


def _matmul_rate(device: str, seconds: float = 1.0) -> float:
    """FLOP/s of products of two matrices of ones. RuntimeError for a wrong product."""
    import time

    import torch

    side = 4096 if device.startswith("cuda") else 256
    ones = torch.ones(side, side, dtype=torch.bfloat16, device=device)
    runs, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds or not runs:
        product = ones @ ones
        if float(product[0, 0]) != side:  # waits for the device
            raise RuntimeError(f"a matmul on {device} gives {float(product[0, 0])}, not {side}")
        runs += 1
    return 2 * side**3 * runs / max(passed, 1e-9)


def _trials_a_card(memory: int, cards: int) -> int:
    """How many trials of a small search a card takes by default, on this machine."""
    from experiments.config.sections import ClusterSection
    from experiments.engine.machines.shares import trial_bytes, trials_a_card
    from scaler import measure_cost
    from search_spaces import load_space

    space = load_space("mbconv_small").at(32)
    largest = space.largest(lambda network: measure_cost(network).activations)
    trial = trial_bytes(measure_cost(largest), batch_size=64)
    node = {"CPU": len(os.sched_getaffinity(0)), "GPU": cards}
    return trials_a_card(ClusterSection(), [node], memory=memory, trial=trial)[0]


def _write(folder: Path) -> str:
    """A file written and locked in a scratch folder, as runs do."""
    import fcntl

    from experiments.config.files import write_text

    with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as scratch:
        path = Path(scratch) / "file"
        write_text(path, "text")
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return f"files in '{folder}' can be written and locked"


def _store(folder: Path) -> str:
    """A trial written into a study and read back."""
    import optuna

    from experiments.store.store import Store

    with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as scratch:
        store = Store(Path(scratch) / "study.db")
        store.record("search", optuna.create_trial(value=0.5))
        values = [trial.value for trial in store.trials("search")]
        if values != [0.5]:
            raise OSError(f"a trial was written into SQLite, but {values} was read back")
    return f"SQLite in '{folder}' keeps trials"


def _data() -> Finding:
    remedy = "set SCALER_DATA to the folder of your data sets; `--data FOLDER` works without it"
    place = os.environ.get("SCALER_DATA")
    if not place:
        return Finding("data", False, "SCALER_DATA is not set", remedy, needed=False)
    works = Path(place).is_dir()
    found = f"SCALER_DATA is '{place}'" + ("" if works else ", which is no folder")
    return Finding("data", works, found, remedy, needed=False)


def _ray() -> str:
    from experiments.engine.machines.cluster import run_one_task

    return f"an embedded Ray ran a task, {run_one_task():g} at a time"
