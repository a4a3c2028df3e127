"""The folder of one full training: request, curve, checkpoints, and the state to go on from."""

import fcntl
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.config.files import write_text
from experiments.training.checkpoint import write_bytes
from experiments.training.loop import TrainingState
from experiments.training.members.request import TrainRequest
from experiments.training.members.training import Epoch
from experiments.training.trial import read_state
from search_spaces.records import InputError


@dataclass(frozen=True)
class TrainingFolder:
    """Every file in it is written whole or not at all."""

    path: Path

    @property
    def request(self) -> Path:
        return self.path / "train.yaml"

    @property
    def curve(self) -> Path:
        return self.path / "curve.csv"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def state(self) -> Path:
        return self.path / "checkpoints" / "training.safetensors"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    def check(self, request: TrainRequest) -> None:
        """Raise InputError where the folder holds something else, or another training."""
        if self.request.is_file():
            TrainRequest.read(self.request).check_same(request, self.path)
        elif self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise InputError(
                f"'{self.path}' is not empty and holds no training; name a new folder with --run"
            )

    @contextmanager
    def opened(self, request: TrainRequest) -> Iterator[None]:
        """Make the folder; a second command on it is refused until this one ends."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise InputError(
                f"cannot write '{self.path}': {error.strerror}; name another folder with --run"
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"'{self.path}' is in use by another command; wait for it, or name another "
                    f"folder with --run"
                ) from None
            write_text(self.request, request.to_yaml())
            yield

    def read_state(self) -> TrainingState | None:
        return read_state(self.state) if self.state.is_file() else None

    def rows(self) -> pd.DataFrame:
        """A row an epoch; empty before the first."""
        if not self.curve.is_file():
            return pd.DataFrame({"epoch": pd.Series(dtype="int64")})
        return pd.read_csv(self.curve)

    def keep(self, epoch: Epoch) -> None:
        """The best weights first, then the curve, then the state: what a state has seen is kept.

        An epoch that is trained again, since a kill came before its state, replaces its row.
        """
        if epoch.best is not None:
            write_bytes(self.best, epoch.best)
        rows = self.rows()
        rows = pd.concat([rows[rows["epoch"] < epoch.row["epoch"]], pd.DataFrame([epoch.row])])
        file = io.StringIO()
        rows.to_csv(file, index=False)
        write_text(self.curve, file.getvalue())
        if epoch.state is not None:
            write_bytes(self.state, epoch.state)

    def finished(self) -> bool:
        """Whether the last checkpoint, which is written at the very end, is there."""
        return self.last.is_file()

    def environment(self) -> dict[str, Any]:
        path = self.path / "environment.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}
