"""Whether a run can have its Ray: found out in seconds, before anything is written.

Whatever is wrong with a cluster or with this machine is an InputError of one line.
"""

import ipaddress
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from experiments.config.messages import warn
from experiments.config.sections import ClusterSection
from experiments.engine.machines import ray_internals
from experiments.engine.machines.shares import Node, nodes_alive, places
from search_spaces.records import InputError

_NO_CARD = (
    "train.device is 'cuda', but a trial would have no GPU: {}; leave it out, or give --address of "
    "a cluster whose nodes have GPUs"
)
PATIENCE = 30.0  # seconds that a head may take to answer; a healthy one takes a tenth


def check_cluster(
    cluster: ClusterSection, *, together: int | None = None, on_cards: bool = False
) -> None:
    """Raise InputError for a cluster that cannot or should not be joined, or cannot take a trial.

    `together` workers, each as large as a trial, have to run at once; `on_cards` they need a GPU,
    whatever their share says. Switches token authentication on in this process where the cluster
    asks for a token.
    """
    if cluster.address is None:
        _check_machine(cluster, together)
        if on_cards and not _cards():
            raise InputError(_NO_CARD.format("this machine has none"))
        return
    address = _address(cluster.address)
    _knock(address)
    anonymous, token = _ask(address, {"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token"})
    if anonymous["reply"] == "welcome":
        _check_open(address, anonymous["dashboard"])
        _check_joining(cluster, address, anonymous, together, on_cards=on_cards)
        return
    if token["reply"] == "no token":
        raise InputError(
            f"the Ray cluster at '{address}' asks for a token and there is none here; set "
            f"RAY_AUTH_TOKEN_PATH to a file that holds it (or copy it to ~/.ray/auth_token)"
        )
    if token["reply"] == "refused":
        raise InputError(
            f"the Ray cluster at '{address}' refuses this token; put the cluster's own into "
            f"RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token (looked up in that order)"
        )
    _check_joining(cluster, address, token, together, on_cards=on_cards)
    os.environ["RAY_AUTH_MODE"] = "token"
    if "ray" in sys.modules:  # Ray has read the variable already
        ray_internals.Config.initialize("")


def fits(cluster: ClusterSection, resources: Mapping[str, float]) -> bool:
    """Whether a node that declares `resources` (as Ray names them) can take a trial."""
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    return cluster.cpus_per_trial <= cpus and (cluster.gpus_per_trial or 0) <= gpus


def _address(given: str) -> str:
    """The `host:port` behind `given`.

    Raises InputError for another form, and for `auto` where no cluster runs on this machine.
    """
    if given == "auto":
        (found,) = _ask("auto", {})
        if not found["address"]:
            raise InputError(
                f"cluster.address is 'auto', but {_lower(found['reason'])} "
                f"Leave the address away for a Ray of the run's own"
            )
        return str(found["address"])
    if "://" in given:
        raise InputError(
            f"cluster.address '{given}' is a Ray Client's; the driver has to run on a node of the "
            f"cluster, with `auto` or the head's host:port (see docs/cluster.md)"
        )
    host, _, port = given.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(
            f"cluster.address '{given}' is not `host:port`; give it as `10.0.0.1:6379`, or `auto` "
            f"on a node of the cluster"
        )
    return given


def _knock(address: str) -> None:
    """Raise InputError where nothing listens. Ray itself would try for a minute."""
    try:
        _connect(address)
    except OSError as error:
        raise InputError(
            f"no Ray cluster answers at '{address}': {error.strerror or error}; start one with "
            f"`ray start --head`, or leave --address away for a Ray of the run's own"
        ) from None


def answers(address: str) -> bool:
    """Whether something listens at `address` (host:port)."""
    try:
        _connect(address)
    except OSError:
        return False
    return True


def _connect(address: str) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()


def _ask(address: str, *settings: dict[str, str]) -> list[dict[str, Any]]:
    """The probe's answers, one for each of `settings` of the environment; all run at once.

    The probe gets this process's path: this command may run from a folder that is not installed.
    """
    asked = [
        subprocess.Popen(
            [sys.executable, "-m", "experiments.engine.machines.cluster_probe", address],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **setting},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for setting in settings
    ]
    deadline = time.monotonic() + PATIENCE
    answers = []
    try:
        for process in asked:
            output, _ = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
            answers.append(json.loads(output.splitlines()[-1]))
    except (subprocess.TimeoutExpired, json.JSONDecodeError, IndexError):
        raise InputError(
            f"what listens at '{address}' does not answer as the head of a Ray "
            f"{_own_versions()['ray_version']} cluster; check host and port, and that the cluster "
            f"has this version"
        ) from None
    finally:
        for process in asked:
            if process.poll() is None:
                process.kill()
                process.wait()
    return answers


def _check_open(address: str, dashboard: str) -> None:
    """Warn of a cluster without tokens, which runs anyone's code; refuse an open dashboard."""
    if dashboard and not _is_loopback(dashboard.rpartition(":")[0]):
        raise InputError(
            f"the Ray cluster at '{address}' takes anyone without a token and its dashboard is "
            f"open at '{dashboard}': whoever reaches it can run code there; restart it with "
            f"RAY_AUTH_MODE=token on every node, or at least with --dashboard-host 127.0.0.1"
        )
    warn(
        f"the Ray cluster at '{address}' takes anyone without a token; "
        f"start its nodes with RAY_AUTH_MODE=token"
    )


def _check_joining(
    cluster: ClusterSection,
    address: str,
    answer: dict[str, Any],
    together: int | None,
    *,
    on_cards: bool,
) -> None:
    """Raise InputError for other versions, for a machine outside, and where no node is enough."""
    own = _own_versions()
    theirs = {name: answer["versions"].get(name, mine) for name, mine in own.items()}
    if theirs != own:
        raise InputError(
            f"the Ray cluster at '{address}' has Ray {theirs['ray_version']} on Python "
            f"{theirs['python_version']}, but this is Ray {own['ray_version']} on Python "
            f"{own['python_version']}; install the same on both"
        )
    if not answer["here"]:
        raise InputError(
            f"this machine is no node of the Ray cluster at '{address}'; run the command on one "
            f"of its nodes (see docs/cluster.md), or join with `ray start --address={address}`"
        )
    if not cluster.wait:
        _check_nodes(cluster, answer["nodes"], together)
        if on_cards and not any(node.get("GPU", 0) >= 1 for node in answer["nodes"]):
            raise InputError(_NO_CARD.format("no node of the cluster has one"))


def _check_nodes(cluster: ClusterSection, nodes: list[Node], together: int | None) -> None:
    if together is not None and places(cluster, nodes) < together:
        raise InputError(_too_few(cluster, nodes, together, "the cluster has"))
    if not any(fits(cluster, node) for node in nodes):
        raise InputError(no_node(cluster, nodes))


def _too_few(cluster: ClusterSection, nodes: list[Node], together: int, where: str) -> str:
    """The message where workers that need each other cannot all start: they would wait for ever."""
    cpus, gpus = (sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
    return (
        f"{together} workers with {cluster.cpus_per_trial:g} CPUs and "
        f"{cluster.gpus_per_trial or 0:g} GPUs each do not fit: {where} {cpus:g} CPUs and "
        f"{gpus:g} GPUs; lower --workers or --gpus-per-worker, or give --address of a larger "
        f"cluster"
    )


def no_node(cluster: ClusterSection, nodes: list[Node]) -> str:
    """The message for a cluster in which no node can take a trial."""
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in ("CPU", "GPU")}
    return (
        f"a trial asks for {cluster.cpus_per_trial:g} CPUs and {cluster.gpus_per_trial or 0:g} "
        f"GPUs, but no node of the cluster has them (at most {most['CPU']:g} CPUs and "
        f"{most['GPU']:g} GPUs); lower cluster.cpus_per_trial or cluster.gpus_per_trial, or "
        f"set cluster.wait to the seconds that nodes take to start"
    )


def _check_machine(cluster: ClusterSection, together: int | None) -> None:
    """Raise InputError where this machine cannot take one trial, or show the dashboard."""
    if cluster.dashboard_host is not None and ray_internals.get_dashboard_dependency_error():
        raise InputError(
            f"cluster.dashboard_host is '{cluster.dashboard_host}', but Ray's dashboard is not "
            f"installed; pip install 'ray[default]', or leave it away"
        )
    if cluster.cpus_per_trial > slots(cluster):
        raise InputError(
            f"cluster.cpus_per_trial is {cluster.cpus_per_trial:g}, but this machine has "
            f"{slots(cluster)} CPUs; lower it or name a cluster with --address"
        )
    if cluster.gpus_per_trial:
        cards = _cards()
        machine: list[Node] = [{"CPU": slots(cluster), "GPU": cards}]
        if together is not None and places(cluster, machine) < together:
            raise InputError(_too_few(cluster, machine, together, "this machine has"))
        if cluster.gpus_per_trial > cards:
            raise InputError(
                f"cluster.gpus_per_trial is {cluster.gpus_per_trial:g}, but this machine has "
                f"{cards} GPUs; lower it or name a cluster with --address"
            )


def _cards() -> int:
    """GPUs that a Ray of this process counts, which a run keeps; without one those of torch."""
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return int(sum(node.get("GPU", 0) for node in nodes_alive().values()))
    import torch

    return torch.cuda.device_count()


def slots(cluster: ClusterSection) -> int:
    """CPUs of a Ray of the run's own: this machine's, or more where `cluster.workers` asks."""
    wished = cluster.workers * cluster.cpus_per_trial if cluster.workers else 0
    return max(cpus_here(), round(wished))


def cpus_here() -> int:
    """The CPUs that this process may use."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cpus or 1


def _own_versions() -> dict[str, str]:
    return {"ray_version": version("ray"), "python_version": platform.python_version()}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].splitlines()[0]
