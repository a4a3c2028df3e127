"""What is killed, hangs or is full: nothing is lost, nothing doubled, and the rest goes on.

An evaluation here is a closure, so that it reaches the workers by value.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import load_trials
from experiments.config.search_section import EarlyStopping, SearchSection
from experiments.store.store import Store
from search_spaces import InputError

SAME = ["number", "state", "reason", "accuracy", "reward", "flops", "epochs", "seed", "key"]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def until(true, *, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def test_a_worker_killed_in_mid_epoch_is_replaced_and_its_trial_goes_on(
    train_list, small, tmp_path
):
    """The process dies in epoch 3; another goes on after epoch 2 and counts on from there."""
    log = tmp_path / "log"

    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        saved = checkpoint_dir / "epoch"
        begun = int(saved.read_text()) if saved.exists() else 0
        for epoch in range(begun + 1, 5):
            with log.open("a") as file:
                file.write(f"{epoch}\n")
            if epoch == 3 and begun == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            saved.write_text(str(epoch))
            report(epoch, epoch / 10, {"begun": begun})
        return 0.4

    trial = train_list(evaluate, small, epochs=4)["small"]
    assert log.read_text().split() == ["1", "2", "3", "3", "4"]
    assert trial.state.name == "COMPLETE"
    assert trial.intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}
    assert trial.user_attrs["curves"] == {"begun": [0, 0, 2, 2]}
    left = list((tmp_path / "checkpoints").rglob("*"))
    assert [path.name for path in left] == ["small", "epoch"]  # what it left at its end


def test_a_hanging_trial_is_ended_with_its_children_and_the_next_one_runs(
    train_list, small, tmp_path
):
    child = tmp_path / "child"

    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        if architecture.name == "hangs":
            report(1, 0.25)
            sleeper = subprocess.Popen(["sleep", "600"])
            child.write_text(str(sleeper.pid))
            sleeper.wait()
        return 0.5

    hangs, fine = (small.replace(name=name) for name in ("hangs", "fine"))
    trials = train_list(evaluate, hangs, fine, time_limit=2)
    assert trials["hangs"].state.name == "FAIL"
    assert trials["hangs"].user_attrs["reason"] == "stopped by its time limit of 2 s"
    assert trials["hangs"].user_attrs["curve"] == [0.25]
    assert trials["hangs"].user_attrs["seconds"] >= 2
    until(lambda: not alive(int(child.read_text())))
    assert trials["fine"].value == 0.5


@pytest.mark.slow
def test_a_hang_that_holds_pythons_lock_is_ended_too(train_list, small):
    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        if architecture.name == "hangs":
            import ctypes

            ctypes.PyDLL(None).sleep(600)
        return 0.5

    hangs, fine = (small.replace(name=name) for name in ("hangs", "fine"))
    trials = train_list(evaluate, hangs, fine, time_limit=2)
    assert trials["hangs"].user_attrs["reason"] == "stopped by its time limit of 2 s"
    assert trials["fine"].value == 0.5


def test_out_of_memory_is_an_outcome_and_the_rest_goes_on(train_list, small):
    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        if architecture.name == "big":
            import torch

            raise torch.OutOfMemoryError("tried to allocate 80 GiB")
        return 0.5

    trials = train_list(evaluate, *(small.replace(name=name) for name in ("big", "fine")))
    assert trials["big"].state.name == "FAIL"
    reason = trials["big"].user_attrs["reason"]
    assert reason == "out of memory: OutOfMemoryError: tried to allocate 80 GiB"
    assert trials["fine"].value == 0.5


def test_a_disk_that_fills_up_under_a_checkpoint_costs_no_result(
    train_list, small, tmp_path, capsys
):
    disk = tmp_path / "checkpoints"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")

    def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
        state = checkpoint_dir / "state"
        for epoch in (1, 2, 3):
            state.write_bytes(os.urandom(150_000))  # two do not fit
            report(epoch, epoch / 10)
        state.unlink()
        return 0.3

    try:
        trial = train_list(evaluate, small, epochs=3)["small"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert (trial.state.name, trial.user_attrs["curve"]) == ("COMPLETE", [0.1, 0.2, 0.3])
    assert "after epoch 2: No space left on device; the older one stays" in capsys.readouterr().err


DRIVER = """
import os, sys, time
from pathlib import Path
from experiments import search
from experiments.config.schema import SearchConfig

LOG = sys.argv[2]  # read here: a worker has other arguments

def evaluate(architecture, *, report, seed, checkpoint_dir):
    saved = checkpoint_dir / "epoch"
    begun = int(saved.read_text()) if saved.exists() else 0
    with open(LOG, "a") as log:
        log.write(f"{seed} {begun}\\n")
    level = (seed * 7919 % 101) / 101
    for epoch in range(begun + 1, 10):
        time.sleep(0.12)
        saved.write_text(str(epoch))
        report(epoch, level * epoch / 9)
    saved.unlink()
    return level

if __name__ == "__main__":
    search(SearchConfig.load(sys.argv[1]), evaluate=evaluate, num_classes=10, in_channels=1)
"""


@pytest.fixture
def driver(config, tmp_path):
    """start(name): begin or continue a search of 40 trials of 9 epochs as a process."""
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)

    def start(name, *, what="stopping"):
        rule = EarlyStopping(kind="asha", type=what)
        section = SearchSection(
            resolution=8, trials=40, epochs=9, sampler="tpe", early_stopping=rule
        )
        path = tmp_path / f"{name}.yaml"
        path.write_text(config.replace(search=section, run=tmp_path / name).to_yaml())
        command = [sys.executable, str(script), str(path), str(tmp_path / f"{name}.log")]
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        return subprocess.Popen(
            command,
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            # A shell's background jobs ignore SIGINT, and so would what they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    return start


def stored(path: Path) -> list[str]:
    try:
        return [trial.user_attrs["key"] for trial in Store(path).trials("search")]
    except InputError:  # the driver is just making it
        return []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", ["stopping", "promotion"])
def test_a_driver_killed_at_twenty_random_moments_gives_the_uninterrupted_table(
    driver, what, tmp_path
):
    moments = random.Random(0)
    kept: list[str] = []
    run, log = tmp_path / "killed", tmp_path / "killed.log"
    for _ in range(20):
        begun = log.stat().st_size if log.exists() else 0
        process = driver("killed", what=what)
        until(lambda: log.exists() and log.stat().st_size > begun, seconds=300)  # noqa: B023
        time.sleep(moments.uniform(0, 1.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        now = stored(run / "study.db")
        assert now[: len(kept)] == kept
        kept = now
    for name in ("killed", "whole"):
        assert driver(name, what=what).communicate()[1] is not None
    tables = [load_trials(tmp_path / name, study="search") for name in ("killed", "whole")]
    assert len(tables[0]) == tables[0].key.nunique() == 40
    assert tables[0][SAME].equals(tables[1][SAME])
    assert {"complete", "pruned"} <= set(tables[0].state)
    taken_up = [line for line in log.read_text().splitlines() if line.split()[1] != "0"]
    assert taken_up  # some went on from a checkpoint


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_driver_ends_soon_and_leaves_no_process(driver, tmp_path, sign):
    log = tmp_path / "stopped.log"
    process = driver("stopped")
    until(lambda: log.exists() and log.stat().st_size > 0, seconds=300)
    family = below(process.pid)
    assert len(family) > 3  # Ray's own and a worker
    began = time.monotonic()
    process.send_signal(sign)
    process.communicate(timeout=120)
    assert time.monotonic() - began < 60
    assert process.returncode == {signal.SIGINT: -signal.SIGINT, signal.SIGTERM: 143}[sign]
    until(lambda: not any(alive(pid) for pid in family))
    assert load_trials(tmp_path / "stopped").key.is_unique


FIRST_MOMENTS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.35, 0.5)  # seconds after the folder is made


def search_of(run: Path) -> list[str]:
    options = "--space mbconv_small --resolution 8 --trials 2 --epochs 1 --target-flops 1e5"
    return [sys.executable, "-m", "experiments", "search", *options.split(), "--run", str(run)]


def stopped_at(run: Path, moment: float, *, sign: signal.Signals) -> subprocess.Popen:
    """A search of two trials that is stopped so long after its folder was made."""
    process = subprocess.Popen(search_of(run), start_new_session=True, stderr=subprocess.DEVNULL)
    until(lambda: run.exists() or process.poll() is not None, seconds=300)
    time.sleep(moment)
    os.killpg(process.pid, sign) if sign == signal.SIGKILL else process.send_signal(sign)
    return process


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_search_stopped_in_its_first_moments_goes_on(tmp_path, sign):
    for moment in FIRST_MOMENTS:
        stopped_at(tmp_path / "run", moment, sign=sign).communicate(timeout=120)
        if sign == signal.SIGKILL:
            stopped_at(tmp_path / f"own-{moment}", moment, sign=sign).communicate(timeout=120)
    for run in tmp_path.iterdir():
        done = subprocess.run(search_of(run), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert len(load_trials(run, study="search")) == 2
        assert not list(run.glob(".*.tmp*"))


def below(pid: int) -> list[int]:
    from experiments.engine.machines.processes import descendants

    return descendants(pid)
