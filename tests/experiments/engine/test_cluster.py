"""Joining a running cluster: what is wrong is told in one line, before anything is written."""

import json
import os
import socket
import subprocess
import sys

import pytest

from experiments import SearchConfig, search
from experiments.cli import _status
from experiments.config.messages import speaking
from experiments.config.sections import ClusterSection
from experiments.engine.machines.cluster_check import check_cluster
from search_spaces import InputError
from tests.experiments.engine.clusters import started
from tests.postgres_server import free_port

TOKEN = "0123456789abcdef" * 4
RAY_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")


@pytest.fixture(scope="module")
def closed():
    """A head that asks for a token, on a node with one CPU and two (declared) GPUs."""
    with started("--num-cpus=1", "--num-gpus=2", token=TOKEN) as head:
        yield head


@pytest.fixture(scope="module")
def open_head():
    with started("--num-cpus=1") as head:
        yield head


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No token of the machine's user, and whatever a test switches on is switched off again."""
    for name in RAY_VARIABLES:
        monkeypatch.setenv(name, "x")  # so that it is put back in any case
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def tell(head, table: str, key: str, value: str) -> None:
    """Write into the head's own table, as its processes do."""
    code = (
        "import sys; from ray._raylet import GcsClient; a, t, k, v = sys.argv[1:];"
        "GcsClient(address=a).internal_kv_put(k.encode(), v.encode(), True, t.encode(), timeout=9)"
    )
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    call = [sys.executable, "-c", code, head.address, table, key, value]
    subprocess.run(call, check=True, env=environment)


def test_the_clusters_token_lets_in_and_stays_switched_on(closed, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    check_cluster(ClusterSection(address=closed.address))
    assert os.environ["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize("path", [None, "no/such/file"])
def test_a_cluster_with_tokens_is_not_joined_without_one(closed, monkeypatch, path):
    if path:
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", path)
    with pytest.raises(InputError, match=r"asks for a token and there is none .*AUTH_TOKEN_PATH"):
        check_cluster(ClusterSection(address=closed.address))
    assert "RAY_AUTH_MODE" not in os.environ


def test_a_wrong_token_is_refused(closed, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    with pytest.raises(InputError, match="refuses this token; put the cluster's own into"):
        check_cluster(ClusterSection(address=closed.address))


def test_a_trial_larger_than_every_node_is_refused(closed, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    check_cluster(ClusterSection(address=closed.address, gpus_per_trial=0.5))
    wanted = ClusterSection(address=closed.address, gpus_per_trial=4)
    with pytest.raises(InputError, match=r"1 CPUs and 4 GPUs, but no node .*1 CPUs and 2 GPUs"):
        check_cluster(wanted)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "train cifar_resnet20 --epochs 1 --workers 2 --gpus-per-worker 1 --cpus-per-worker 0.5",
            "2 workers with 0.5 CPUs and 1 GPUs each do not fit: the cluster has 1 CPUs and 0 GPUs",
        ),
        (
            "train cifar_resnet20 --epochs 1 --device cuda",
            "train.device is 'cuda', but a trial would have no GPU: no node of the cluster has one",
        ),
        (
            "search --config cards.yaml",
            "a trial asks for 1 CPUs and 0.5 GPUs, but no node of the cluster has them",
        ),
        (
            "search --config cuda.yaml",
            "train.device is 'cuda', but a trial would have no GPU: no node of the cluster has one",
        ),
    ],
)
def test_gpus_that_the_cluster_does_not_have_are_refused_in_a_line_before_anything_is_written(
    open_head, command, message, monkeypatch, capsys, tmp_path
):
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    (place / "cards.yaml").write_text("name: cards\ncluster: {gpus_per_trial: 0.5}\n")
    (place / "cuda.yaml").write_text("name: cuda\ntrain: {device: cuda}\n")
    there = set(place.rglob("*"))
    given = f"{command} --data digits --run run --address {open_head.address}".split()
    monkeypatch.setattr(sys, "argv", ["scaler", *given])
    with speaking():
        assert _status() == 2
    told = capsys.readouterr().err.splitlines()
    (line,) = [line for line in told if line.startswith("error: ")]
    assert message in line
    assert set(place.rglob("*")) == there


def test_an_open_cluster_with_a_public_dashboard_is_refused(open_head):
    tell(open_head, "dashboard", "webui:url", "10.1.2.3:8265")
    with pytest.raises(InputError, match=r"dashboard is open at '10\.1\.2\.3:8265'.*AUTH_MODE"):
        check_cluster(ClusterSection(address=open_head.address))


def test_an_open_cluster_with_a_local_dashboard_is_joined_with_a_warning(open_head, capsys):
    tell(open_head, "dashboard", "webui:url", "127.0.0.1:8265")
    check_cluster(ClusterSection(address=open_head.address))
    assert "takes anyone without a token" in capsys.readouterr().err


def test_a_cluster_of_another_version_is_refused(open_head):
    tell(open_head, "dashboard", "webui:url", "")
    versions = {"ray_version": "2.9.0", "python_version": "3.9.1"}
    tell(open_head, "cluster", "CLUSTER_METADATA", json.dumps(versions))
    with pytest.raises(InputError, match=r"has Ray 2\.9\.0 on Python 3\.9\.1, but this is Ray"):
        check_cluster(ClusterSection(address=open_head.address))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", "no Ray cluster answers at '127.0.0.1:9': Connection refused; start one"),
        ("ray://10.0.0.1:10001", "is a Ray Client's; the driver has to run on a node"),
        ("10.0.0.1", "is not `host:port`"),
    ],
)
def test_an_address_where_no_cluster_can_be_is_told(tmp_path, address, message):
    config = SearchConfig(name="x", run=tmp_path / "run", cluster={"address": address})
    with pytest.raises(InputError, match=message):
        search(config, evaluate=lambda *_: 0.5)
    assert not (tmp_path / "run").exists()


def test_a_server_that_is_no_ray_is_told(monkeypatch):
    monkeypatch.setattr("experiments.engine.machines.cluster_check.PATIENCE", 2.0)
    port = free_port()
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(InputError, match="does not answer as the head of a Ray"),
    ):
        check_cluster(ClusterSection(address=f"127.0.0.1:{port}"))


def test_parts_of_several_gpus_are_refused():
    with pytest.raises(InputError, match=r"gpus_per_trial: above 1 .* whole number .*got 1\.5"):
        ClusterSection.parse({"gpus_per_trial": 1.5}, source="x")


def test_a_dashboard_without_its_packages_is_refused(monkeypatch):
    missing = "ray._private.utils.get_dashboard_dependency_error"
    monkeypatch.setattr(missing, lambda: ImportError("aiohttp"))
    with pytest.raises(InputError, match=r"dashboard_host is '127\.0\.0\.1'.*pip install"):
        check_cluster(ClusterSection(dashboard_host="127.0.0.1"))
