"""The place of a run's own Ray: short folders that end with it, loopback, a token of one's own."""

import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from experiments.config.files import replace_file
from experiments.engine.evaluation import TRIALS
from experiments.engine.machines import ray_internals
from search_spaces.records import InputError

# A socket's path has at most 107 bytes (103 on macOS), of which Ray's folders in it take 64.
_LONGEST = 103 - 64 - len("/ray")
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: Ray takes 127.0.0.1 for this machine's address


@contextmanager
def own_ray_place() -> Iterator[str | None]:
    """The folder of a Ray of the run's own; it and the trials' folders are gone afterwards.

    None where RAY_TMPDIR names a folder: Ray's logs then stay there. Raises InputError where no
    folder is short enough.
    """
    _keep_token_private()
    with ExitStack() as stack:
        stack.enter_context(_on_loopback())
        folder = stack.enter_context(_scratch(tempfile.gettempdir()))
        stack.enter_context(_variable(TRIALS, folder))
        if "RAY_TMPDIR" in os.environ:
            yield None
            return
        if len(os.fsencode(folder)) > _LONGEST:
            folder = stack.enter_context(_scratch("/tmp"))
        yield f"{folder}/ray"  # Ray opens its folder to everyone; ours around it is our user's


@contextmanager
def _scratch(parent: str) -> Iterator[str]:
    try:
        folder = tempfile.mkdtemp(prefix="scaler-", dir=parent)
    except OSError as error:
        raise InputError(
            f"Ray needs a folder with a short name, but TMPDIR is '{tempfile.gettempdir()}' and "
            f"'{parent}' cannot be written to ({error.strerror}); set TMPDIR or RAY_TMPDIR to a "
            f"folder whose path is shorter"
        ) from None
    try:
        yield folder
    finally:
        for _ in range(20):  # what was killed a moment ago may still write
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.exists(folder):
                break
            time.sleep(0.1)


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray listen where this machine alone can reach it."""
    constants = ray_internals.ray_constants
    before = constants.ENABLE_RAY_CLUSTER  # Ray has read the variable already, its processes not
    constants.ENABLE_RAY_CLUSTER = False
    try:
        with _variable(_LOOPBACK, "0"):
            yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def _keep_token_private() -> None:
    """Ray makes its token readable by everyone: make it before Ray does, or take that back."""
    path = Path.home() / ".ray" / "auth_token"
    elsewhere = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    try:
        if path.is_file():
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                path.chmod(0o600)
        elif not elsewhere and os.environ.get("RAY_AUTH_MODE", "token").lower() == "token":
            path.parent.mkdir(parents=True, exist_ok=True)
            token = secrets.token_hex(32).encode()
            replace_file(path, lambda file: file.write(token), permissions=0o600)
    except OSError:
        return  # Ray itself says what it cannot do without a home
