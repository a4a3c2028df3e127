"""The folder of one full training: request, curve, checkpoints, and the state to go on from."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
from pydantic import Field

from experiments.config.files import locked, sweep, unbegun, write_text
from experiments.config.recipe import SETTINGS_OF_THE_MACHINE, TrainConfig
from experiments.config.run_folder import differing
from experiments.config.schema import DELIVERY, DataConfig
from experiments.config.sections import Positive
from experiments.training.checkpoint import TrainingState, read_state, write_whole
from search_spaces.architecture import Architecture
from search_spaces.foreign_models import Source
from search_spaces.records import InputError, Record, read_mapping


class TrainRequest(Record):
    """The request of `scaler train`: kept in its folder, and compared when the training goes on."""

    architecture: Architecture
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    epochs: Positive
    seed: int = Field(default=0, ge=0, lt=2**31)
    init_from: str | None = None  # a checkpoint, or a library's weights
    source: Source | None = None  # of a safetensors file of weights: timm or torchvision
    source_model: str | None = None
    frozen: int | None = Field(default=None, ge=0)  # stages, and the stem

    @classmethod
    def read(cls, path: Path) -> Self:
        """The request in a file. Raises InputError for another file's content."""
        return cls.parse(read_mapping(path), source=str(path))

    def check_same(self, other: "TrainRequest", folder: Path) -> None:
        """Raise InputError if a training is continued with other settings than it began with."""
        before, now = _flat(self), _flat(other)
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                raise InputError(
                    f"'{folder}' holds a training with "
                    f"{differing(name, before.get(name), now.get(name))}; "
                    f"continue with the same, or name a new folder with --run"
                )


@dataclass(frozen=True)
class KeptEpoch:
    """The data of an epoch to keep: a row of figures, and bytes of weights if they are due."""

    row: dict[str, float]
    best: bytes | None = None  # a checkpoint, if the accuracy is the highest so far
    state: bytes | None = None  # the state to go on from


@dataclass(frozen=True)
class TrainingFolder:
    """Every file in it is written whole or not at all."""

    path: Path

    @property
    def request(self) -> Path:
        """The file of the request."""
        return self.path / "train.yaml"

    @property
    def curve(self) -> Path:
        """The file with a row for each epoch."""
        return self.path / "curve.csv"

    @property
    def best(self) -> Path:
        """The weights of the epoch with the highest validation accuracy."""
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def last(self) -> Path:
        """The weights of the last epoch, written at the very end."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def state(self) -> Path:
        """The state to go on from; removed when the training is finished."""
        return self.path / "checkpoints" / "training.safetensors"

    @property
    def figures(self) -> Path:
        """The folder of pictures."""
        return self.path / "figures"

    def check(self, request: TrainRequest) -> None:
        """Raise InputError if the folder holds something else, or another training."""
        if self.request.is_file():
            TrainRequest.read(self.request).check_same(request, self.path)
        elif not unbegun(self.path):
            raise InputError(
                f"'{self.path}' is not empty and holds no training; name a new folder with --run"
            )

    @contextmanager
    def opened(self, request: TrainRequest) -> Iterator[None]:
        """Make the folder; a second command on it is refused until this one ends."""
        with locked(self.path):
            sweep(self.path)
            write_text(self.request, request.to_yaml())
            yield

    def read_state(self) -> TrainingState | None:
        """The state to go on from; None if there is none. InputError if damaged."""
        return read_state(self.state) if self.state.is_file() else None

    def rows(self) -> pd.DataFrame:
        """A row for each epoch; empty before the first."""
        if not self.curve.is_file():
            return pd.DataFrame({"epoch": pd.Series(dtype="int64")})
        return pd.read_csv(self.curve)

    def keep(self, epoch: KeptEpoch) -> None:
        """The best weights first, then the curve, then the state: so a state never lacks its row.

        An epoch that is trained again, because a kill came before its state, replaces its row.
        """
        if epoch.best is not None:
            write_whole(self.best, epoch.best)
        rows = self.rows()
        rows = pd.concat([rows[rows["epoch"] < epoch.row["epoch"]], pd.DataFrame([epoch.row])])
        file = io.StringIO()
        rows.to_csv(file, index=False)
        write_text(self.curve, file.getvalue())
        if epoch.state is not None:
            write_whole(self.state, epoch.state)

    def finished(self) -> bool:
        """Whether the last checkpoint, which is written at the very end, is there."""
        return self.last.is_file()

    def environment(self) -> dict[str, Any]:
        """The data's fingerprint and the versions that it was begun with; empty before that."""
        path = self.path / "environment.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}


def _flat(request: TrainRequest) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section, values in request.model_dump(mode="json").items():
        if section in ("data", "train"):
            flat |= {f"{section}.{key}": value for key, value in values.items()}
        else:
            flat[section] = values
    return {
        key: value
        for key, value in flat.items()
        if key.removeprefix("train.") not in SETTINGS_OF_THE_MACHINE and key not in DELIVERY
    }
