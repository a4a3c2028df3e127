"""Ray for a run: an embedded one, or a running cluster, joined only if that is safe and can work.

Whatever can be wrong with a cluster is found by `check_cluster`, in seconds and in one line, before
anything is written.
"""

import ipaddress
import json
import logging
import math
import os
import platform
import re
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from experiments.config.messages import warn
from experiments.config.sections import ClusterSection
from experiments.engine import ray_internals
from experiments.engine.head_watch import answers, head_watched
from experiments.engine.processes import children, descendants, kill
from search_spaces.records import InputError

PATIENCE = 30.0  # seconds that a head may take to answer; a healthy one takes a tenth


@contextmanager
def ray_session(cluster: ClusterSection) -> Iterator[None]:
    """Ray for as long as a run lasts; one that was there before stays."""
    os.environ.update({k: v for k, v in ray_internals.SETTINGS.items() if k not in os.environ})
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    import ray

    if ray.is_initialized():
        yield
        return
    with _silenced():
        yield from _started(cluster)


def _started(cluster: ClusterSection) -> Iterator[None]:
    import ray

    before = set(children())
    try:
        ray.init(
            address=cluster.address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
            **(_joining() if cluster.address else _embedded(cluster)),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot reach Ray at '{cluster.address or 'local'}': {first}") from None
    if cluster.address is None:
        ours = set(children()) - before
        try:
            yield
        finally:
            left = [pid for child in ours for pid in (child, *descendants(child))]
            ray.shutdown()
            kill(left)  # what an evaluation started, and would outlive its worker
        return
    head = ray.get_runtime_context().gcs_address
    try:
        with head_watched(head):
            if cluster.wait:
                _wait_for_a_node(cluster)
            yield
    finally:
        if answers(head):  # else it would not end
            ray.shutdown()


@contextmanager
def _silenced() -> Iterator[None]:
    """What Ray says of a lost worker, partly on standard output: the trial's reason has it."""
    everything = re.compile("")
    filters = (ray_internals.stdout_deduplicator, ray_internals.stderr_deduplicator)
    logger = logging.getLogger("ray.tune")
    before = ([one.skip_re for one in filters], logger.level)
    for one in filters:
        one.skip_re = everything
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before[1])
        for one, pattern in zip(filters, before[0], strict=True):
            one.skip_re = pattern


def check_cluster(cluster: ClusterSection) -> None:
    """Raise InputError for a cluster that cannot be joined, should not be, or would never train.

    Switches token authentication on in this process where the cluster asks for it.
    """
    if cluster.address is None:
        _check_machine(cluster)
        return
    address = _address(cluster.address)
    _knock(address)
    anonymous, token = _ask(address, {"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token"})
    if anonymous["reply"] == "welcome":
        _check_open(address, anonymous["dashboard"])
        _check_joining(cluster, address, anonymous)
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
    _check_joining(cluster, address, token)
    os.environ["RAY_AUTH_MODE"] = "token"
    if "ray" in sys.modules:  # it has read the variable already
        ray_internals.Config.initialize("")


def fits(cluster: ClusterSection, resources: Mapping[str, float]) -> bool:
    """Whether a node that declares `resources` (as Ray names them) can take a trial."""
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    return cluster.cpus_per_trial <= cpus and cluster.gpus_per_trial <= gpus


def trials_at_a_time(cluster: ClusterSection) -> int:
    """`cluster.workers`, or as many trials as the nodes that are there can take together.

    Tune has to be told a number: else it asks for one new worker at a time, and gives its trial to
    the next worker that is free, so that a worker which starts more slowly than a trial ends is
    called off, and a cluster is never filled.
    """
    if cluster.workers is not None:
        return cluster.workers
    import ray

    asked = {"CPU": cluster.cpus_per_trial, "GPU": cluster.gpus_per_trial}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    places = [
        min(math.floor(node.get(name, 0) / share + 1e-9) for name, share in asked.items() if share)
        for node in nodes
    ]
    return max(1, sum(places))


def _embedded(cluster: ClusterSection) -> dict[str, Any]:
    shown: dict[str, Any] = {"include_dashboard": cluster.dashboard_host is not None}
    if cluster.dashboard_host is not None:
        shown["dashboard_host"] = cluster.dashboard_host
    return {"num_cpus": _slots(cluster), **shown}


def _joining() -> dict[str, Any]:
    """The nodes get this process's own packages: what they have installed may be older."""
    import experiments
    import scaler
    import search_spaces

    return {"runtime_env": {"py_modules": [search_spaces, scaler, experiments]}}


def _address(given: str) -> str:
    """`host:port`. Raises InputError for what is none, and for `auto` where nothing runs here."""
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
    """Raise InputError where nothing listens: Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise InputError(
            f"no Ray cluster answers at '{address}': {error.strerror or error}; start one with "
            f"`ray start --head`, or leave --address away for a Ray of the run's own"
        ) from None


def _ask(address: str, *settings: dict[str, str]) -> list[dict[str, Any]]:
    """The probe's answer under each of `settings` of the environment, all asked at once."""
    asked = [
        subprocess.Popen(
            [sys.executable, "-m", "experiments.engine.cluster_probe", address],
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
    """A cluster without tokens runs anyone's code; one that shows it to the world is refused."""
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


def _check_joining(cluster: ClusterSection, address: str, answer: dict[str, Any]) -> None:
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
    if not cluster.wait and not any(fits(cluster, node) for node in answer["nodes"]):
        raise InputError(_no_node(cluster, answer["nodes"]))


def _no_node(cluster: ClusterSection, nodes: list[dict[str, float]]) -> str:
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in ("CPU", "GPU")}
    return (
        f"a trial asks for {cluster.cpus_per_trial:g} CPUs and {cluster.gpus_per_trial:g} GPUs, "
        f"but no node of the cluster has them (at most {most['CPU']:g} CPUs and {most['GPU']:g} "
        f"GPUs); lower cluster.cpus_per_trial or cluster.gpus_per_trial, or set cluster.wait to "
        f"the seconds that nodes take to start"
    )


def _wait_for_a_node(cluster: ClusterSection) -> None:
    """Until a node can take a trial; an autoscaler is asked for one."""
    import ray

    wanted = {"CPU": cluster.cpus_per_trial, "GPU": cluster.gpus_per_trial}
    deadline = time.monotonic() + cluster.wait
    while True:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(fits(cluster, node) for node in nodes):
            return
        if time.monotonic() > deadline:
            raise InputError(f"after {cluster.wait:g} s of waiting {_no_node(cluster, nodes)}")
        ray_internals.request_resources(bundles=[{k: v for k, v in wanted.items() if v}])
        time.sleep(1)


def _check_machine(cluster: ClusterSection) -> None:
    if cluster.dashboard_host is not None and ray_internals.get_dashboard_dependency_error():
        raise InputError(
            f"cluster.dashboard_host is '{cluster.dashboard_host}', but Ray's dashboard is not "
            f"installed; pip install 'ray[default]', or leave it away"
        )
    if cluster.cpus_per_trial > _slots(cluster):
        raise InputError(
            f"cluster.cpus_per_trial is {cluster.cpus_per_trial:g}, but this machine has "
            f"{_slots(cluster)} CPUs; lower it or name a cluster with --address"
        )
    if cluster.gpus_per_trial:
        import torch

        if cluster.gpus_per_trial > torch.cuda.device_count():
            raise InputError(
                f"cluster.gpus_per_trial is {cluster.gpus_per_trial:g}, but this machine has "
                f"{torch.cuda.device_count()} GPUs; lower it or name a cluster with --address"
            )


def _slots(cluster: ClusterSection) -> int:
    """CPUs of the embedded Ray: this machine's, or as many as the wished workers take."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wished = cluster.workers * cluster.cpus_per_trial if cluster.workers else 0
    return max(cpus or 1, round(wished))


def _own_versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"ray_version": version("ray"), "python_version": platform.python_version()}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].splitlines()[0]


def run_one_task() -> float:
    """Start an embedded Ray, as runs do, and have it run a task; the CPUs that it offers.

    Raises RuntimeError, or what Ray raises, where it does not work.
    """
    with ray_session(ClusterSection()):
        import ray

        def answer() -> int:
            return 42

        got = ray.get(ray.remote(answer).remote(), timeout=120)
        if got != 42:
            raise RuntimeError(f"a task gave {got}, not 42")
        return float(ray.cluster_resources().get("CPU", 0))
