"""The checkpoints of a run, which the driver alone writes: checkpoints/<name>/.

While a trial runs, `epoch_<n>.zip` is what its evaluation had in its checkpoint folder after epoch
n; the older one goes when the newer one is safe. At its end the files themselves take its place.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from experiments.config.files import replace_file, sweep
from experiments.store import parcel

_EPOCH = re.compile(r"^epoch_(\d+)\.zip$")


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
                parcel.files(content)
            except (OSError, ValueError):
                continue
            return Checkpoint(epoch, content)
        return None

    def place(self, name: str, content: bytes) -> None:
        """Put down the files that an evaluation left at its end. Raises OSError, ValueError."""
        for file, data in parcel.files(content).items():
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
