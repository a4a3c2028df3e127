"""What `scaler train` was asked for: kept beside the result, and compared when it goes on."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field

from experiments.config.recipe import SETTINGS_OF_THE_MACHINE, TrainConfig
from experiments.config.schema import DELIVERY, DataConfig, Positive
from search_spaces.architecture import Architecture
from search_spaces.records import InputError, Record, read_mapping
from search_spaces.weights import Source


class TrainRequest(Record):
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
        return cls.parse(read_mapping(path), source=str(path))

    def check_same(self, other: "TrainRequest", folder: Path) -> None:
        """Raise InputError where a training is continued with other settings than it began with."""
        before, now = _flat(self), _flat(other)
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                raise InputError(
                    f"'{folder}' holds a training with {name} = {before.get(name)}, but now it is "
                    f"{now.get(name)}; continue with the same, or name a new folder with --run"
                )


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
