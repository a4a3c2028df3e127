"""The checkpoints of a run, which the driver alone writes: checkpoints/<name>/.

While a trial runs, `epoch_<n>.zip` is what its evaluation had in its checkpoint folder after epoch
n; the older one goes when the newer one is safe. At its end the files themselves take its place.
Between machines a folder travels as bytes (`pack`, `unpack`): no shared disk is needed.
"""

import io
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from experiments.config.files import replace_file, sweep

_EPOCH = re.compile(r"^epoch_(\d+)\.zip$")
Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Checkpoint:
    """What a trial goes on from: its evaluation's files, packed, as they were after `epoch`."""

    epoch: int
    content: bytes


@dataclass(frozen=True)
class Checkpoints:
    """The folder of all trials' checkpoints."""

    folder: Path

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Keep a running trial's checkpoint: a new file, synced and renamed, then the older goes.

        Raises OSError, as when the disk is full; the older checkpoint is then still there.
        """
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"epoch_{checkpoint.epoch:05}.zip"
        replace_file(path, lambda file: file.write(checkpoint.content))
        for _, older in self._epochs(name):
            if older != path:
                older.unlink()

    def newest(self, name: str) -> Checkpoint | None:
        """The newest checkpoint that is whole, or None where a trial begins from nothing."""
        for epoch, path in self._epochs(name):
            try:
                content = path.read_bytes()
                files(content)
            except (OSError, ValueError):
                continue
            return Checkpoint(epoch, content)
        return None

    def place(self, name: str, content: bytes) -> None:
        """Put down the files that an evaluation left at its end. Raises OSError, ValueError."""
        for file, data in files(content).items():
            path = self.folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, lambda to, data=data: to.write(data))  # type: ignore[misc]

    def drop(self, name: str) -> None:
        """Forget the checkpoints of a trial that has ended; what else lies there stays."""
        folder = self.folder / name
        for _, path in self._epochs(name):
            path.unlink(missing_ok=True)
        sweep(folder)
        if folder.is_dir() and not any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)

    def _epochs(self, name: str) -> list[tuple[int, Path]]:
        """Checkpoint files, the newest first."""
        found = [
            (int(match[1]), path)
            for path in (self.folder / name).glob("epoch_*.zip")
            if (match := _EPOCH.match(path.name))
        ]
        return sorted(found, reverse=True)


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
    if _EPOCH.match(name):
        raise ValueError(
            f"a checkpoint file is called '{name}', as the run's own are; name it otherwise"
        )
