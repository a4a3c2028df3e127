"""A PostgreSQL server for benchmarks and tests, started from the machine's own binaries."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "s3cret-word"


@dataclass
class Server:
    """A running server; its databases are fresh ones, made with `database`."""

    binaries: Path
    folder: Path
    port: int
    durable: bool

    def url(self, name: str, *, password: str = PASSWORD) -> str:
        return f"postgresql+psycopg://scaler:{password}@127.0.0.1:{self.port}/{name}"

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        command = [str(self.binaries / "psql"), "-qAt", "-h", "127.0.0.1", "-p", str(self.port)]
        done = subprocess.run(
            [*command, "-U", "scaler", "-d", database, "-c", statement],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def start(self) -> None:
        """Wait until it answers. `durable`: a commit is on the disk, as in real use."""
        sync = "on" if self.durable else "off"
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync={sync}"
        self._control("start", "-w", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        """Cut every connection, as a restart does."""
        self._control("stop", "-m", "immediate")

    def _control(self, *arguments: str) -> None:
        run(self.binaries / "pg_ctl", "-D", str(self.folder / "data"), *arguments)


def binaries() -> Path | None:
    """The newest PostgreSQL server's folder of programs; None where the machine has none."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb")
    return installed[-1].parent if installed else Path(found).parent if found else None


@contextmanager
def running(folder_of_programs: Path, port: int, *, durable: bool = False) -> Iterator[Server]:
    """A server with a data folder of its own, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = Server(folder_of_programs, folder, port, durable)
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:  # the server refuses to run as root
            for path in (folder, secret):
                shutil.chown(path, _ordinary_user())
        run(
            folder_of_programs / "initdb",
            *("-D", str(folder / "data"), "-U", "scaler", "--auth=scram-sha-256", "--no-sync"),
            f"--pwfile={secret}",
        )
        server.start()
        try:
            yield server
        finally:
            with suppress(AssertionError):  # a test has stopped it already
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def run(program: Path, *arguments: str) -> None:
    """A server program, as an ordinary user."""
    command = [str(program), *arguments]
    if os.geteuid() == 0:
        command = ["runuser", "-u", _ordinary_user(), "--", *command]
    with tempfile.TemporaryFile("w+") as output:  # a pipe would be kept open by the server
        done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False)
        output.seek(0)
        assert done.returncode == 0, output.read()


def _ordinary_user() -> str:
    names = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
