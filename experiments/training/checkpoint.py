"""What a training leaves: an epoch's figures, a network's weights, and the state to go on from.

Weights are `<name>.safetensors` with their metadata in it, and `<name>.json` beside it for people.
A state is one safetensors file.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from experiments.config.files import replace_file
from search_spaces.records import InputError

_SUFFIX = ".safetensors"
# Fields of a TrainingState that are no tensors: JSON in the file's header.
_FACTS = ("epoch", "parts", "updates", "accuracies", "channels_last", "loss_scale")
# Prefixes of the tensors' names in a state's file.
_TENSORS = ("weights", "optimizer", "average")


@dataclass(frozen=True)
class TrainingState:
    """The state to go on from: everything that changed up to the end of `epoch`.

    A batch is cut into `parts` pieces to fit into memory; `average` are the moving average's
    weights after `updates` steps; `accuracies` are those of the epochs so far.
    """

    epoch: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    parts: int = 1
    average: dict[str, Tensor] = field(default_factory=dict)
    updates: int = 0
    accuracies: tuple[float, ...] = ()
    channels_last: bool = True
    loss_scale: dict[str, float] = field(default_factory=dict)  # float16's


@dataclass(frozen=True)
class TrainedEpoch:
    """The figures of an epoch, and the state and network to keep."""

    epoch: int  # from 1
    train_loss: float  # mean over the epoch's steps, with label smoothing
    # On the augmented images of the same steps, in train mode; None for detectors.
    train_accuracy: float | None
    accuracy: float  # the metric's value on the validation part, in [0, 1]
    seconds: float  # wall time of this epoch with its evaluation
    gradient_norms: dict[str, float]  # at its first step; empty unless asked for
    parts: int  # of a batch; more than 1 if memory ran out
    state: Callable[[], TrainingState] = field(repr=False, compare=False)  # before the next epoch
    network: nn.Module = field(repr=False, compare=False)  # whose accuracy this is

    @property
    def figures(self) -> dict[str, float]:
        """The figures that are reported and kept besides accuracy and time."""
        own = {"train_loss": self.train_loss}
        if self.train_accuracy is not None:
            own["train_accuracy"] = self.train_accuracy
        return {**own, **self.gradient_norms}


def save_checkpoint(path: Path, network: nn.Module, *, metadata: dict[str, Any]) -> None:
    """Write weights and `metadata` (JSON values) so that a kill leaves the old files or the new.

    The metadata is in the weights' file too: a kill between the two files leaves a `.json` that is
    one checkpoint late, but never weights with another's metadata. Raises InputError for a name
    that does not end in .safetensors, TypeError or ValueError for metadata that JSON cannot hold,
    OSError if the folder cannot be written.
    """
    _check_suffix(path)
    content = checkpoint_bytes(network, metadata=metadata)
    write_whole(path, content)
    text = json.dumps(metadata, allow_nan=False, indent=2)
    replace_file(path.with_suffix(".json"), lambda file: file.write(f"{text}\n".encode()))


def checkpoint_bytes(network: nn.Module, *, metadata: dict[str, Any]) -> bytes:
    """The content of a checkpoint's safetensors file."""
    text = json.dumps(metadata, allow_nan=False, indent=2)
    return save(plain_tensors(network.state_dict()), metadata={"metadata": text})


def write_whole(path: Path, content: bytes) -> None:
    """Writes the file whole or not at all, and makes a missing folder. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: file.write(content))


def load_weights(path: Path, network: nn.Module) -> dict[str, Any]:
    """Load weights into `network`, on its device; return their metadata.

    Raises InputError for a file that is missing, damaged, or of another network; the network is
    then as it was.
    """
    weights, metadata = _read(path, with_weights=True)
    _check_same(path, weights, network.state_dict())
    network.load_state_dict(weights)
    return metadata


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint by name; InputError for a file that is missing or damaged."""
    return _read(path, with_weights=True)[0]


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata that `save_checkpoint` wrote; InputError as for `load_weights`."""
    return _read(path, with_weights=False)[1]


def state_bytes(state: TrainingState) -> bytes:
    """The content of a state's safetensors file."""
    tensors = {
        f"{part}.{name}": tensor
        for part in _TENSORS
        for name, tensor in getattr(state, part).items()
    }
    facts = {name: getattr(state, name) for name in _FACTS}
    return save(plain_tensors(tensors), metadata={"facts": json.dumps(facts, allow_nan=False)})


def write_state(path: Path, state: TrainingState) -> None:
    """Writes the file whole or not at all. Raises OSError if the folder cannot be written."""
    write_whole(path, state_bytes(state))


def read_state(path: Path) -> TrainingState:
    """The state that `write_state` wrote. Raises InputError for a damaged file."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in _TENSORS}
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
            for key in file.keys():  # noqa: SIM118, it is no dict
                part, name = key.split(".", 1)
                parts[part][name] = file.get_tensor(key)
        return TrainingState(**{**parts, **facts, "accuracies": tuple(facts["accuracies"])})
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is damaged, or is no state of a training ({error})") from None


def _read(path: Path, *, with_weights: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    _check_suffix(path)
    if not path.is_file():
        raise InputError(f"there is no checkpoint '{path}'")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if with_weights else []
            weights = {name: file.get_tensor(name) for name in names}
            metadata: dict[str, Any] = json.loads((file.metadata() or {}).get("metadata", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"checkpoint '{path}' is damaged or no safetensors file ({error})"
        ) from None
    return weights, metadata


def plain_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Clones on the CPU: safetensors takes neither channels_last nor two names for one memory."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def _check_suffix(path: Path) -> None:
    if path.suffix != _SUFFIX:
        raise InputError(f"a checkpoint's name must end in {_SUFFIX}, but got '{path}'")


def _check_same(path: Path, weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    absent = object()
    for name in [*expected, *weights]:
        found = tuple(weights[name].shape) if name in weights else absent
        wanted = tuple(expected[name].shape) if name in expected else absent
        if found != wanted:
            told = ["absent" if shape is absent else str(shape) for shape in (found, wanted)]
            raise InputError(
                f"checkpoint '{path}' is of another network: '{name}' is {told[0]} there and "
                f"{told[1]} in this one; give the architecture that it was saved with"
            )
