"""A folder's files as one piece of bytes, so that they travel between machines without a disk."""

import io
import re
import zipfile
from pathlib import Path, PurePosixPath

_RESERVED = re.compile(r"^epoch_\d+\.zip$")  # see checkpoints.py
Signature = tuple[tuple[str, int, int], ...]


def signature(folder: Path) -> Signature:
    """What changes when a file in `folder` is written: names, sizes, times.

    Raises ValueError for a name that cannot be kept.
    """
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status, name = path.stat(), path.relative_to(folder).as_posix()
            _check_name(name)
            files.append((name, status.st_size, status.st_mtime_ns))
    return tuple(files)


def pack(folder: Path) -> bytes:
    """All files under `folder` as an uncompressed zip: weights do not get smaller."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for name, _, _ in signature(folder):
            archive.write(folder / name, name)
    return buffer.getvalue()


def files(content: bytes) -> dict[str, bytes]:
    """The packed files by their relative names.

    Raises ValueError where a file is damaged, or would lie outside of the folder.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
        raise ValueError(f"the packed checkpoint is damaged ({error})") from None
    for name in found:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or "\\" in name:
            raise ValueError(f"the packed checkpoint has a file '{name}' outside of its folder")
    return found


def unpack(content: bytes, folder: Path) -> None:
    """Write the packed files under `folder`. Raises ValueError as `files` does, OSError."""
    for name, data in files(content).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _check_name(name: str) -> None:
    """Raise ValueError for a name that cannot travel, and for one of the driver's own files."""
    if not name.isprintable() or "\\" in name:
        raise ValueError(f"a checkpoint file is called {name!r:.80}; give it a name of plain text")
    if _RESERVED.match(name):
        raise ValueError(
            f"a checkpoint file is called '{name}', as the run's own are; name it otherwise"
        )
