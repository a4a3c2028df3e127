"""A cluster of three nodes on this machine: each has its own disk, and any may be lost."""

import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pandas
import pytest
from PIL import Image

from experiments import SearchConfig, load_trials
from experiments.config.search_section import SearchSection
from experiments.config.sections import ClusterSection
from search_spaces import InputError
from tests.experiments.engine.clusters import Node, can_seal, environment, started
from tests.postgres_server import free_port

TOKEN = "fedcba9876543210" * 4
DRIVER = Path(__file__).with_name("node_driver.py")


@pytest.fixture
def cluster(tmp_path):
    """A head without CPUs, where the driver is, and two nodes with one (declared) GPU each."""
    hidden = tmp_path if can_seal() else None
    with ExitStack() as stack:
        head = stack.enter_context(started("--num-cpus=0", token=TOKEN))
        join = {"address": head.address, "token": TOKEN, "hidden": hidden}
        nodes = [
            stack.enter_context(started("--num-cpus=2", "--num-gpus=1", **join)) for _ in range(2)
        ]
        yield head, nodes


def write_config(folder: Path, address: str, *, trials: int, epochs: int) -> SearchConfig:
    config = SearchConfig(
        name="nodes",
        run=folder / "run",
        search=SearchSection(
            resolution=8, trials=trials, epochs=epochs, sampler="random", early_stopping=None
        ),
        confirmation=None,
        cluster=ClusterSection(address=address, gpus_per_trial=0.5),
    )
    (folder / "nodes.yaml").write_text(config.to_yaml())
    return config


def launch(folder: Path, *, seconds: float) -> subprocess.Popen:
    """The driver; what it says is in `said`."""
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, str(DRIVER), str(folder / "nodes.yaml"), str(seconds)],
            env=environment(token=TOKEN),
            stdout=said,
            stderr=said,
        )


def wait_until(ready, driver, folder: Path):
    """What `ready` gives, once it gives something."""
    deadline = time.monotonic() + 250
    while not (found := ready()):
        said = (folder / "said").read_text()
        assert driver.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    return found


def stored(config) -> pandas.DataFrame:
    try:
        return load_trials(config.run)
    except InputError:  # the driver is just making it
        return pandas.DataFrame({"key": []})


def nodes_seen(config) -> int:
    trials = stored(config)
    return trials.node.nunique() if len(trials) else 0


def in_the_middle(node: Node) -> bool:
    """Whether a trial of the node writes its third checkpoint: the driver then has the second."""
    for kept in node.folder.glob("scaler-trial-*/epoch"):
        with suppress(OSError):
            if kept.read_text() in ("3", "4"):
                return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_node_loses_no_trial_and_its_own_go_on_elsewhere(cluster, tmp_path):
    head, nodes = cluster
    config = write_config(tmp_path, head.address, trials=30, epochs=6)
    driver = launch(tmp_path, seconds=0.4)
    wait_until(lambda: nodes_seen(config) == 2, driver, tmp_path)
    lost = wait_until(lambda: next(filter(in_the_middle, nodes), None), driver, tmp_path)
    lost.kill()
    before = list(stored(config).key)
    assert driver.wait(timeout=300) == 0, (tmp_path / "said").read_text()
    trials = load_trials(config.run)
    assert list(trials.key[: len(before)]) == before
    assert len(trials) == 30
    assert trials.key.is_unique
    assert (trials.state == "complete").all()
    assert (trials.epochs == 6).all()
    assert trials.began.max() > 0  # taken up from a checkpoint that the lost node had made
    assert trials.node.nunique() == 2
    assert (trials.gpu == 0.5).all()
    assert not (can_seal() and trials.sees_the_run.any())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_head_ends_the_driver_with_a_line_and_the_same_command_goes_on(tmp_path):
    port = free_port()
    hidden = tmp_path if can_seal() else None
    with started("--num-cpus=0", token=TOKEN, port=port) as head, ExitStack() as stack:
        config = write_config(tmp_path, head.address, trials=8, epochs=12)  # they run on a bit
        join = {"address": head.address, "token": TOKEN, "hidden": hidden}
        node = stack.enter_context(started("--num-cpus=2", "--num-gpus=1", **join))
        driver = launch(tmp_path, seconds=0.4)
        wait_until(lambda: len(stored(config)) >= 3, driver, tmp_path)
        wait_until(lambda: in_the_middle(node), driver, tmp_path)
        head.kill()
        before = list(stored(config).key)
        assert driver.wait(timeout=100) == 1
    last = (tmp_path / "said").read_text().strip().splitlines()[-1]
    assert "the Ray cluster at" in last
    assert "every finished trial is kept" in last
    with started("--num-cpus=0", token=TOKEN, port=port), ExitStack() as stack:
        stack.enter_context(started("--num-cpus=2", "--num-gpus=1", **join))
        driver = launch(tmp_path, seconds=0.4)
        assert driver.wait(timeout=200) == 0, (tmp_path / "said").read_text()
    trials = load_trials(config.run)
    assert list(trials.key[: len(before)]) == before
    assert len(trials) == 8
    assert trials.key.is_unique
    assert (trials.epochs == 12).all()
    assert trials.began.max() > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_command_trains_on_a_node_that_has_neither_the_data_nor_the_run(tmp_path):
    images = tmp_path / "images"
    for number, shade in enumerate((20, 80, 160, 230) * 10):
        path = images / f"class{shade // 128}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (shade, shade, shade)).save(path)
    hidden = tmp_path if can_seal() else None
    with started("--num-cpus=0", token=TOKEN) as head:
        join = {"address": head.address, "token": TOKEN, "hidden": hidden}
        with started("--num-cpus=1", **join):
            options = {"data": images, "run": tmp_path / "run", "trials": 2, "epochs": 1}
            options |= {"resolution": 8, "address": head.address, "space": "mbconv_small"}
            given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
            done = subprocess.run(
                [sys.executable, "-m", "experiments", "search", *given],
                env=environment(token=TOKEN, SCALER_CACHE=str(tmp_path / "cache")),
                capture_output=True,
                text=True,
                timeout=500,
            )
    assert done.returncode == 0, done.stderr
    trials = load_trials(tmp_path / "run", study="search")
    assert list(trials.state) == ["complete", "complete"]
    assert list((tmp_path / "cache").glob("*.npy"))  # the driver's memory map, on its disk alone
