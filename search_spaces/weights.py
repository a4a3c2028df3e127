"""Weights from elsewhere: timm's and torchvision's models of the same name, and their files.

Our networks register parameters and batch-norm statistics in the order in which timm and
torchvision do: stem to head, in a layer the branch before its shortcut, the branches of an
Inception module in the order of the paper's figure. So the tensors pair up one by one, and every
shape must agree. Auxiliary classifiers are left out where the architecture has none; with them
their tensors are moved to the end, where ours stand.

The order is that of the library's own model where the file's names tell which one it is; the
network then must give that model's scores. Of other files the order is that of the file.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.foreign_models import (
    Origin,
    Source,
    check_same_function,
    conventions_of,
    foreign_names,
    is_auxiliary,
    known_origins,
)
from search_spaces.network import Network, build_network
from search_spaces.records import InputError

_WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "module")
_COUNTER = "num_batches_tracked"  # absent from files older than torch 0.4.1; means nothing in eval
# torch's order within a module; a file may hold another
_ENTRIES = ("weight", "bias", "running_mean", "running_var", _COUNTER)


def origin_of(source: Source | None, model: str | None) -> Origin | None:
    """The library's model, where both are named."""
    return Origin(source, model) if source is not None and model is not None else None


def foreign_network(
    architecture: Architecture,
    state: Mapping[str, Tensor],
    *,
    in_channels: int = 3,
    num_classes: int | None = None,
    origin: Origin | None = None,
) -> tuple[Network, str]:
    """A network with the weights `state`, and a sentence on what they were taken for.

    Its architecture has the conventions of `origin`, or of the model that the names tell; without
    `num_classes` the weights' own. Raises as `load_foreign_weights`.
    """
    state = _unwrapped(state)
    origins = [origin] if origin else known_origins(architecture, state)
    table, told = architecture, _assumed(architecture)
    if origins:
        conventions = conventions_of(origins[0], architecture.conventions)
        table, told = architecture.replace(conventions=conventions), _taken(origins, architecture)
    if num_classes is None:
        names = [name for name in _ordered(state, origins) if not is_auxiliary(name)]
        num_classes = next(len(state[name]) for name in reversed(names) if state[name].ndim)
    network = build_network(table, num_classes=num_classes, in_channels=in_channels)
    load_foreign_weights(network, state, origin=origins[0] if origins else None)
    return network, told


def _taken(origins: list[Origin], architecture: Architecture) -> str:
    first, *others = origins
    ours = architecture.conventions
    used = conventions_of(first, ours)
    told = f"taken as {first} ({used.describe()})"
    differing = [other for other in others if conventions_of(other, ours) != used]
    if differing:
        other = differing[0]
        told += (
            f"; {other} ({conventions_of(other, ours).describe()}) has the same tensors: "
            f"if they are its weights, give --source {other.source} --source-model {other.model}"
        )
    return told


def _assumed(architecture: Architecture) -> str:
    return (
        f"of an unknown model: assumed that its layers are those of '{architecture.name}' "
        f"({architecture.conventions.describe()}); to check, give --source and --source-model"
    )


def load_foreign_weights(
    network: Network, state: Mapping[str, Tensor], *, origin: Origin | None = None
) -> None:
    """Copy `state`, the weights of `origin` or of the model that their names tell, into `network`.

    Raises InputError where the two have other numbers of tensors, a shape differs, or the network
    would give other scores than the library's model; nothing is copied then.
    """
    state = _unwrapped(state)
    origins = [origin] if origin else known_origins(network.architecture, state)
    pairs = _paired(network, state, _ordered(state, origins))
    if origins:
        check_same_function(network.architecture, _fitting(network, origins), pairs)
    own = network.state_dict()
    counters = {name: torch.zeros_like(own[name]) for name in own if name.endswith(_COUNTER)}
    network.load_state_dict(
        {**counters, **{mine: state[other] for mine, other in pairs.items() if other in state}}
    )


def _fitting(network: Network, origins: list[Origin]) -> Origin:
    """The origin with the network's conventions; InputError where none has them."""
    ours = network.architecture.conventions
    for origin in origins:
        if conventions_of(origin, ours) == ours:
            return origin
    wanted = conventions_of(origins[0], ours)
    fitting = f"{{batch_norm_eps: {wanted.batch_norm_eps:g}, padding: {wanted.padding}}}"
    raise InputError(
        f"the weights are of {origins[0]}, which has {wanted.describe()}, but "
        f"'{network.architecture.name}' has {ours.describe()}; "
        f"set `conventions: {fitting}` in the architecture"
    )


def _paired(network: Network, state: Mapping[str, Tensor], names: list[str]) -> dict[str, str]:
    """{our name: the other's}, counters left out; InputError where number or shape differs."""
    own = network.state_dict()
    has_auxiliary = any(name.startswith("auxiliary.") for name in own)
    body = [name for name in names if not is_auxiliary(name)]
    theirs = body + [name for name in names if is_auxiliary(name)] if has_auxiliary else body
    ours = sorted(own, key=lambda name: name.startswith("auxiliary."))
    ours, theirs = ([n for n in some if not n.endswith(_COUNTER)] for some in (ours, theirs))
    for mine, other in zip(ours, theirs, strict=False):
        if own[mine].shape != state[other].shape:
            raise InputError(
                f"the weights are of another network: '{other}' is "
                f"{tuple(state[other].shape)}, but '{mine}' needs {tuple(own[mine].shape)}"
            )
    if len(ours) != len(theirs):
        raise InputError(
            f"the weights are of another network: they hold {len(theirs)} tensors "
            f"({_COUNTER} not counted), but this one has {len(ours)}"
        )
    return dict(zip(ours, theirs, strict=True))


def _ordered(state: Mapping[str, Tensor], origins: list[Origin]) -> list[str]:
    """The names in the order of the model, or else of the file, entries of a module in torch's."""
    if origins:
        names = foreign_names(origins[0])
        if unknown := set(state) - set(names):
            raise InputError(
                f"the weights hold '{min(unknown)}', which {origins[0]} does not; name the model "
                f"that they are of"
            )
        return [name for name in names if name in state]
    modules: dict[str, list[str]] = {}
    for name in state:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    return [name for names in modules.values() for name in sorted(names, key=_entry)]


def _entry(name: str) -> int:
    entry = name.rpartition(".")[2]
    return _ENTRIES.index(entry) if entry in _ENTRIES else len(_ENTRIES)


def _unwrapped(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Without a prefix that all names share: DataParallel's `module.`, Lightning's `model.`."""
    prefixes = {name.partition(".")[0] for name in state}
    if len(prefixes) == 1 and all("." in name for name in state):
        return _unwrapped({name.partition(".")[2]: tensor for name, tensor in state.items()})
    return state


def read_weights(
    path: str | Path, *, source: Source | None = None, model: str | None = None
) -> dict[str, Tensor]:
    """The state in a safetensors file or a torch file (`weights_only`), in its model's order.

    A checkpoint that holds the state under `state_dict`, `model` or the like is opened. A
    safetensors file, which keeps no order, needs `source` and `model`, the library and its model's
    name (`resnet50`). Raises InputError for a file that is neither, or holds other names.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"cannot read '{path}': there is no such file")
    _check_content(file)
    if file.suffix != ".safetensors":
        return _read_torch(file)
    if source is None or model is None:
        raise InputError(
            f"'{path}' is a safetensors file, which keeps no order; "
            f"name the library (timm or torchvision) and its model that it comes from"
        )
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(file)
    except SafetensorError as error:
        raise InputError(f"'{path}' is not a safetensors file: {_line(error)}") from None
    order = _ordered(state, [Origin(source, model)])
    return {name: state[name] for name in order}


def _check_content(file: Path) -> None:
    """Raise InputError for what is often found in a weights file's place."""
    with file.open("rb") as opened:
        head = opened.read(200).lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        raise InputError(
            f"'{file}' is a Git-LFS pointer, not the weights; fetch them with `git lfs pull`"
        )
    if head.startswith((b"<", b'{"error')):
        raise InputError(f"'{file}' is a web page, not weights; download the file itself")


def _read_torch(file: Path) -> dict[str, Tensor]:
    import pickle

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is None:
            raise InputError(f"'{file}' is not a torch file of weights") from None
        raise InputError(
            f"'{file}' is not a torch file of weights alone: it holds an object of "
            f"{found[1]}, which would run code; save the model's state_dict() instead"
        ) from None
    except Exception as error:  # a damaged archive raises anything from EOFError to KeyError
        raise InputError(f"'{file}' is not a torch file of weights: {_line(error)}") from None
    return _state_in(content, file)


def _state_in(content: Any, file: Path) -> dict[str, Tensor]:
    """The state dict itself, or the one that a checkpoint wraps."""
    if isinstance(content, Mapping):
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return dict(content)
        for key in _WRAPPERS:
            if isinstance(content.get(key), Mapping):
                return _state_in(content[key], file)
    told = f"a {type(content).__name__}"
    if isinstance(content, Mapping):
        told = f"{', '.join(map(repr, list(content)[:5]))}" if content else "nothing"
    raise InputError(
        f"'{file}' must hold a state dict, names and tensors and nothing else, by itself or under "
        f"{' or '.join(map(repr, _WRAPPERS[:2]))}, but holds {told}"
    )


def _line(error: Exception) -> str:
    """The first line of a message, without the codes that colour it."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()
    return lines[0] if lines else type(error).__name__
