"""Ray for as long as a run lasts: one of its own, or a running cluster that it joins."""

import _thread
import logging
import os
import re
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from experiments.config.messages import WorkFailed
from experiments.config.sections import ClusterSection
from experiments.engine.machines import ray_internals
from experiments.engine.machines.cluster_check import answers, fits, no_node, slots
from experiments.engine.machines.own_ray import own_ray_place
from experiments.engine.machines.processes import (
    children,
    descendants,
    ending_with_signals,
    kill,
    signals_kept,
)
from experiments.engine.machines.shares import nodes_alive, places
from search_spaces.records import InputError

PAUSE = 2.0  # seconds between two looks at the head
GRACE = 15.0  # seconds in which a run whose head is lost may end by itself


@contextmanager
def ray_session(cluster: ClusterSection) -> Iterator[None]:
    """Give a run its Ray and end it with the run. A Ray that this process has already stays."""
    os.environ.update({k: v for k, v in ray_internals.SETTINGS.items() if k not in os.environ})
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    import ray

    if ray.is_initialized():
        yield
        return
    with _silenced(), ending_with_signals():
        yield from _started(cluster)


def _started(cluster: ClusterSection) -> Iterator[None]:
    if cluster.address is None:
        with own_ray_place() as folder:
            yield from _embedded(cluster, folder)
        return
    import ray

    _init(cluster, address=cluster.address, **_joining())
    head = ray.get_runtime_context().gcs_address
    try:
        with head_watched(head):
            if cluster.wait:
                _wait_for_a_node(cluster)
            yield
    finally:
        if answers(head):  # without a head `shutdown` would not return
            ray.shutdown()


def _embedded(cluster: ClusterSection, folder: str | None) -> Iterator[None]:
    import ray

    before = set(children())
    shown: dict[str, Any] = {"include_dashboard": cluster.dashboard_host is not None}
    if cluster.dashboard_host is not None:
        shown["dashboard_host"] = cluster.dashboard_host
    try:
        _init(cluster, address="local", _temp_dir=folder, num_cpus=slots(cluster), **shown)
        yield
    finally:
        ours = set(children()) - before
        left = [pid for child in ours for pid in (child, *descendants(child))]
        ray.shutdown()
        kill(left)  # processes that an evaluation started outlive their worker


def _init(cluster: ClusterSection, **options: Any) -> None:
    """Raises InputError where a cluster cannot be joined, WorkFailed where our Ray does not start.

    Ray's own SIGTERM handler would end this process without its last line: signals
    end it as before.
    """
    import ray

    try:
        with signals_kept():
            ray.init(
                log_to_driver=False, logging_level=logging.ERROR, configure_logging=True, **options
            )
    except Exception as error:  # a slow start is a bare Exception
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        if cluster.address is None:
            raise WorkFailed(
                f"Ray did not start on this machine: {first}; is it short of time, memory or room? "
                f"The same command tries again (`scaler doctor` looks closer)"
            ) from None
        raise InputError(f"cannot reach Ray at '{cluster.address}': {first}") from None


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep Ray's lines about a lost worker off the screen: the trial's reason has them."""
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


def trials_at_a_time(cluster: ClusterSection) -> int:
    """`cluster.workers`, or as many trials as the nodes that are there can take together.

    On this machine alone never more than fit: no further node will come.

    Tune needs this number. Without it Tune asks for one new worker at a time, and gives that
    worker's trial to any worker that becomes free first. Where a trial is shorter than the start of
    a worker, Tune then cancels the new worker, and a cluster never fills.
    """
    if cluster.workers is not None and cluster.address is not None:
        return cluster.workers
    fitting = max(1, places(cluster, nodes_alive().values()))
    return fitting if cluster.workers is None else min(fitting, cluster.workers)


def _joining() -> dict[str, Any]:
    """Send this process's own packages to the nodes, where an older version may be installed."""
    import experiments
    import scaler
    import search_spaces

    return {"runtime_env": {"py_modules": [search_spaces, scaler, experiments]}}


def _wait_for_a_node(cluster: ClusterSection) -> None:
    """Wait until a node can take a trial, and ask an autoscaler for one meanwhile."""
    wanted = {"CPU": cluster.cpus_per_trial, "GPU": cluster.gpus_per_trial or 0}
    deadline = time.monotonic() + cluster.wait
    while True:
        nodes = list(nodes_alive().values())
        if any(fits(cluster, node) for node in nodes):
            return
        if time.monotonic() > deadline:
            raise InputError(f"after {cluster.wait:g} s of waiting {no_node(cluster, nodes)}")
        ray_internals.request_resources(bundles=[{k: v for k, v in wanted.items() if v}])
        time.sleep(1)


def run_one_task() -> float:
    """Start an embedded Ray, as runs do, and let it run one task. Return the CPUs that it offers.

    Raises RuntimeError, or what Ray raises, where Ray does not work here.
    """
    with ray_session(ClusterSection()):
        import ray

        def answer() -> int:
            return 42

        got = ray.get(ray.remote(answer).remote(), timeout=120)  # seconds; a slow start takes 20
        if got != 42:
            raise RuntimeError(f"a task gave {got}, not 42")
        return float(ray.cluster_resources().get("CPU", 0))


@contextmanager
def head_watched(address: str) -> Iterator[None]:
    """Raise WorkFailed in the main thread once nothing has listened at `address` for a while.

    Ray itself would abort this process without a word, after a minute or what the user's
    RAY_gcs_rpc_server_reconnect_timeout_s says. We wait for half of that time: a head that was
    started again sooner, with its state in Redis, is not lost.
    """
    if threading.current_thread() is not threading.main_thread():  # only that can be interrupted
        yield
        return
    lost, over = threading.Event(), threading.Event()
    watch = threading.Thread(target=_watch, args=(address, lost, over), daemon=True)
    watch.start()
    try:
        yield
    except (KeyboardInterrupt, Exception):
        if not lost.is_set() and answers(address):
            raise
        raise WorkFailed(_lost(address)) from None
    finally:
        over.set()


def _watch(address: str, lost: threading.Event, over: threading.Event) -> None:
    patience = float(os.environ.get(ray_internals.RECONNECT, "60")) / 2
    heard = time.monotonic()
    while time.monotonic() - heard < patience:
        if over.wait(PAUSE):
            return
        if answers(address):
            heard = time.monotonic()
    lost.set()
    _thread.interrupt_main()
    if not over.wait(GRACE):  # the main thread waits inside Ray for a cluster that is gone
        print(f"error: {_lost(address)}", file=sys.stderr, flush=True)
        os._exit(1)
    threading.main_thread().join()  # until its last messages are out
    time.sleep(1)
    os._exit(1)  # Ray's exit handler would wait for the lost cluster for ever


def _lost(address: str) -> str:
    return (
        f"the Ray cluster at '{address}' has lost its head; every finished trial is kept: start "
        f"the head again, and the same command goes on"
    )
