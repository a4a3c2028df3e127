"""Real Ray nodes for tests, each with a folder of its own, all ended with their test."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.benchmarks.postgres_server import free_port

RAY = Path(sys.executable).with_name("ray")
STORE_BYTES = 100 * 1024**2


@dataclass
class Node:
    """A started node. `token` is the file that holds the cluster's, if it asks for one."""

    address: str
    token: Path | None
    folder: Path
    process: subprocess.Popen

    def kill(self) -> None:
        """Every process of it at once, as where a machine loses its power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def started(*options: str, token: Path | None = None, address: str = "") -> Iterator[Node]:
    """A head, or a further node of the cluster at `address`."""
    folder = Path(tempfile.mkdtemp(prefix="node-"))  # short: it holds the path of a Unix socket
    ip = socket.gethostbyname(socket.gethostname())
    where = [f"--address={address}"]
    if not address:
        port = free_port()
        address = f"{ip}:{port}"
        where = ["--head", f"--port={port}", f"--temp-dir={folder}", "--dashboard-host=127.0.0.1"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token" if token else "disabled", "HOME": str(folder)}
    if token:
        environment["RAY_AUTH_TOKEN_PATH"] = str(token)
    command = [str(RAY), "start", "--block", "--disable-usage-stats", *where, *options]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--object-store-memory={STORE_BYTES}"],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    node = Node(address, token, folder, process)
    try:
        wait_for(lambda: b"Ray runtime started" in (folder / "output").read_bytes(), node)
        yield node
    finally:
        if process.poll() is None:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(ready, node: Node, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        told = (node.folder / "output").read_text()
        assert node.process.poll() is None, told
        assert time.monotonic() < deadline, told
        time.sleep(0.1)
