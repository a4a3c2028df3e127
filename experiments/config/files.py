"""Files that are the old ones or the new ones, whatever is killed; the lock of a folder."""

import errno
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from search_spaces.records import InputError

FULL = {errno.ENOSPC, errno.EDQUOT}  # of an OSError: no room is left
_SCRAP = re.compile(r"\.[0-9a-f]{32}\.tmp(-\w+)?$")  # a study's file has a log beside it


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole. Raises InputError where the folder cannot be written to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: file.write(data))
    except OSError as error:
        way_out = "name a folder that can be written to"
        if error.errno in FULL:
            way_out = "make room, and the same command goes on"
        raise InputError(f"cannot write '{path}': {error.strerror}; {way_out}") from None


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8. Raises InputError as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """Write data as a JSON file, whole. Raises InputError as `write_bytes` does."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def replace_file(
    path: Path, write: Callable[[BinaryIO], object], *, permissions: int = 0o666
) -> None:
    """Let `write` fill a new file beside `path`, then put it in the place of `path`.

    Each writer has a file of its own, so that several at a time are safe: the last one wins.
    `permissions` are those of the new file, less what the user's umask takes away.
    Raises OSError; the old file is then untouched and the new one gone.
    """
    short = path.name.encode()[:150].decode(errors="ignore")  # a name holds 255 bytes
    new = path.with_name(f".{short}.{uuid4().hex}.tmp")
    try:
        with open(new, "xb", opener=lambda name, how: os.open(name, how, permissions)) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def unbegun(folder: Path) -> bool:
    """Whether nothing stands in `folder` but what a command leaves that is killed as it begins."""
    if not folder.is_dir():
        return not folder.exists()
    return all(
        entry.name == ".lock" or _SCRAP.search(entry.name) is not None for entry in folder.iterdir()
    )


def sweep(folder: Path) -> None:
    """Remove what a writer left in `folder` that was killed before its file was whole."""
    for scrap in folder.glob(".*.tmp*"):
        if _SCRAP.search(scrap.name):
            scrap.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_use(folder: Path) -> bool:
    """Whether a command on this machine works on the run in `folder` just now."""
    try:
        with (folder / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and hold its lock; a second command on it is refused until this one ends.

    Raises InputError where the folder is in use or cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(
            f"cannot write '{folder}': {error.strerror}; name another folder with --run"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"'{folder}' is in use by another command; wait for it, or name another "
                f"folder with --run"
            ) from None
        yield
