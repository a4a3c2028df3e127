"""Weights from elsewhere: timm's and torchvision's models of the same name, and their files.

The mapping is by order. Our networks register parameters and batch-norm statistics in the order in
which timm and torchvision do: stem to head, in a layer the branch before its shortcut, the branches
of an Inception module in the order of the paper's figure. So the tensors pair up one by one, and
every shape must agree. Auxiliary classifiers are left out where the architecture has none; with
them their tensors are moved to the end, where ours stand.

A safetensors file keeps no order. There the names' order comes from the library's own model, which
must then be installed; a torch file keeps its order and needs no library.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from search_spaces.records import InputError

Source = Literal["timm", "torchvision"]
_BUILDERS = {"timm": ("timm", "create_model"), "torchvision": ("torchvision.models", "get_model")}
_AUXILIARY = ("aux", "AuxLogits")  # torchvision's googlenet and inception_v3


def load_foreign_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy `state`, in its model's order, into `network`, in place.

    Raises InputError where the two have other numbers of tensors or a shape differs; nothing is
    copied then.
    """
    own = network.state_dict()
    has_auxiliary = any(name.startswith("auxiliary.") for name in own)
    theirs = _reordered(state, with_auxiliary=has_auxiliary)
    ours = sorted(own, key=lambda name: name.startswith("auxiliary."))
    pairs = list(zip(ours, theirs, strict=False))
    for mine, other in pairs:
        if own[mine].shape != state[other].shape:
            raise InputError(
                f"the weights are of another network: '{other}' is "
                f"{tuple(state[other].shape)}, but '{mine}' needs {tuple(own[mine].shape)}"
            )
    if len(ours) != len(theirs):
        raise InputError(
            f"the weights are of another network: they hold {len(theirs)} tensors, "
            f"but this one has {len(ours)}"
        )
    network.load_state_dict({mine: state[other] for mine, other in pairs})


def _reordered(names: Iterable[str], *, with_auxiliary: bool) -> list[str]:
    listed = list(names)
    auxiliary = [name for name in listed if name.startswith(_AUXILIARY)]
    body = [name for name in listed if not name.startswith(_AUXILIARY)]
    return body + auxiliary if with_auxiliary else body


def read_weights(
    path: str | Path, *, source: Source | None = None, model: str | None = None
) -> dict[str, Tensor]:
    """The state in a safetensors file or a torch file (`weights_only`), in its model's order.

    A safetensors file needs `source` and `model`, the library and its model's name (`resnet50`),
    for the order. Raises InputError for a file that is neither, or holds other names.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"cannot read '{path}': there is no such file")
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
        raise InputError(f"'{path}' is not a safetensors file: {error}") from None
    order = [name for name in foreign_names(source, model) if name in state]
    if unknown := set(state) - set(order):
        raise InputError(f"'{path}' holds '{min(unknown)}', which {source}'s {model} does not")
    return {name: state[name] for name in order}


def _read_torch(file: Path) -> dict[str, Tensor]:
    import pickle

    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"'{file}' is not a torch file of weights: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"'{file}' must hold a state dict, names and tensors and nothing else")
    return state


def foreign_names(source: Source, model: str) -> list[str]:
    """The names of a library's model in their order; it is built without memory."""
    module, function = _BUILDERS[source]
    try:
        build = getattr(import_module(module), function)
    except ImportError:
        raise InputError(f"{source} is not installed; try: pip install {source}") from None
    try:
        with torch.device("meta"):
            return list(build(model).state_dict())
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{source} has no model '{model}': {error}") from None
