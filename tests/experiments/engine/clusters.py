"""Real Ray nodes for tests, each with a folder of its own, all ended with their test."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from experiments.engine.evaluation import TRIALS
from experiments.engine.machines.processes import descendants, kill
from tests.postgres_server import free_port

RAY = Path(sys.executable).with_name("ray")
STORE_BYTES = 100 * 1024**2
# A dead node is known within seconds; one that is only slow has ten for each answer.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "3000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "5",
}


@dataclass
class Node:
    """A started node; `folder` is its own disk."""

    address: str
    folder: Path
    process: subprocess.Popen

    def kill(self) -> None:
        """Every process of it at once, as where a machine loses its power."""
        kill([self.process.pid, *descendants(self.process.pid)])
        self.process.wait()


@contextmanager
def started(
    *options: str,
    address: str = "",
    port: int | None = None,
    token: str | None = None,
    hidden: Path | None = None,
    **variables: str,
) -> Iterator[Node]:
    """A head, or a further node of the cluster at `address`; `hidden` is empty in its eyes.

    `variables` are of its environment.
    """
    folder = Path(tempfile.mkdtemp(prefix="node-"))  # short: it holds the path of a Unix socket
    where = [f"--address={address}"]
    if not address:
        port = port or free_port()
        address = f"{socket.gethostbyname(socket.gethostname())}:{port}"
        where = ["--head", f"--port={port}", "--dashboard-host=127.0.0.1"]
    command = [str(RAY), "start", "--block", "--disable-usage-stats", *where, *options]
    command += [f"--temp-dir={folder}", f"--object-store-memory={STORE_BYTES}"]
    own = environment(token=token, HOME=str(folder), TMPDIR=str(folder), **HEALTH, **variables)
    node = Node(
        address, folder, launch(sealed(command, hidden) if hidden else command, own, folder)
    )
    try:
        for _ in range(3):  # Ray gives a node 30 s, which a busy machine may exceed
            if began(node):
                break
            node.process = launch(command, own, folder)
        else:
            raise AssertionError((folder / "output").read_text())
        yield node
    finally:
        if node.process.poll() is None:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def launch(command: list[str], own: dict[str, str], folder: Path) -> subprocess.Popen:
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            command, env=own, stdout=output, stderr=output, cwd=folder, start_new_session=True
        )


def began(node: Node) -> bool:
    """Wait for a node to say that it runs; False if it ends instead."""
    while b"Ray runtime started" not in (node.folder / "output").read_bytes():
        if node.process.poll() is not None:
            return False
        time.sleep(0.1)
    return True


def environment(*, token: str | None, **further: str) -> dict[str, str]:
    """This process's without what it has of an embedded Ray, with the cluster's token."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("RAY_") and k != TRIALS}
    authentication = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {}
    return {**own, "RAY_AUTH_MODE": "disabled", **authentication, **further}


@cache
def can_seal() -> bool:
    """Whether this machine lets us hide a folder from a process (a mount namespace)."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(sealed(["true"], Path(folder)), capture_output=True).returncode == 0


def sealed(command: list[str], hidden: Path) -> list[str]:
    own_view = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        own_view += ["--user", "--map-root-user"]
    mount = f"mount -t tmpfs tmpfs {shlex.quote(str(hidden))} && exec {shlex.join(command)}"
    return [*own_view, "sh", "-c", mount]
