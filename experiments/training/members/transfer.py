"""Weights to begin with: another training's, a library's, or those of a smaller member."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from experiments.training.checkpoint import load_tensors, read_metadata
from search_spaces.architecture import Architecture
from search_spaces.blocks import Conventions
from search_spaces.foreign_models import Source
from search_spaces.network import build_network
from search_spaces.records import InputError
from search_spaces.weights import foreign_network, origin_of, read_weights

# The conventions that change the scores of given weights.
_SHOWN = ("batch_norm_eps", "padding", "average_pool")


@dataclass(frozen=True)
class Start:
    """Weights by name, a sentence about them, and the architecture with their conventions."""

    weights: dict[str, Tensor]
    told: str
    architecture: Architecture


def initial_weights(
    path: Path,
    architecture: Architecture,
    *,
    classes: tuple[str, ...],
    in_channels: int,
    seed: int,
    source: Source | None = None,
    source_model: str | None = None,
) -> Start:
    """The weights of the file that `architecture` can begin with.

    A tensor of the same name and shape is taken as it is. One of another shape, for example if a
    member is wider than the trained one, fills the leading corner of the tensor that the `seed`
    initialises. Layers that the file lacks begin as initialised, such as a dense head on a
    classifier's body. The classifier is new unless the file has the same `classes`. The
    architecture takes the batch norm epsilon, padding and average pooling that the weights were
    trained with. Raises InputError for a file without weights of such a network.
    """
    torch.manual_seed(seed)
    own = build_network(architecture, num_classes=len(classes), in_channels=in_channels)
    mine = own.state_dict()
    found = _read(path, architecture, in_channels=in_channels, source=source, model=source_model)
    theirs, of = found.weights, found.classes
    new_head = of != classes
    if new_head:
        with torch.device("meta"):  # tensors whose shape depends on the number of classes
            more = build_network(
                architecture, num_classes=len(classes) + 1, in_channels=in_channels
            )
        other = more.state_dict()
        scores = {name for name in mine if other[name].shape != mine[name].shape}
        theirs = {name: tensor for name, tensor in theirs.items() if name not in scores}
    start, same, grown = {}, 0, 0
    for name, tensor in mine.items():
        if name not in theirs or theirs[name].ndim != tensor.ndim:
            continue
        if theirs[name].shape == tensor.shape:
            start[name], same = theirs[name], same + 1
        else:
            start[name], grown = _laid_in(theirs[name], tensor), grown + 1
    if not same + grown:
        raise InputError(
            f"'{path}' has no weights that '{architecture.name}' could begin with; name a "
            f"checkpoint of the same network or of a smaller member of its family"
        )
    fresh = len(mine) - same - grown
    parts = [f"{same} tensors as they are"]
    parts += [f"{grown} grown"] if grown else []
    parts += [f"{fresh} new{' (with the classifier)' if new_head else ''}"] if fresh else []
    told = f"begins with '{path}': {', '.join(parts)}{found.told}"
    return Start(start, told, architecture.replace(conventions=found.conventions))


def _laid_in(small: Tensor, large: Tensor) -> Tensor:
    """`small` in the leading corner of `large`, cut if it is larger."""
    found = large.clone()
    corner = tuple(slice(0, min(a, b)) for a, b in zip(small.shape, large.shape, strict=True))
    found[corner] = small[corner].to(found.dtype)
    return found


@dataclass(frozen=True)
class _Found:
    weights: dict[str, Tensor]  # by our names
    classes: tuple[str, ...]  # that they were trained for; empty if the file has none
    conventions: Conventions
    told: str = ""


def _read(
    path: Path,
    architecture: Architecture,
    *,
    in_channels: int,
    source: Source | None,
    model: str | None,
) -> _Found:
    if path.suffix == ".safetensors" and source is None:
        metadata = read_metadata(path)
        if "architecture" not in metadata:
            raise InputError(
                f"'{path}' does not name its network; give a checkpoint of `scaler train` "
                f"or `scaler run`, or say whose weights it holds with --source and --source-model"
            )
        given = metadata["architecture"].get("conventions", {})
        theirs = Conventions.parse(given, source=f"{path}: conventions")
        shown = {name: getattr(theirs, name) for name in _SHOWN}
        conventions = architecture.conventions.replace(**shown)
        classes = tuple(metadata.get("classes", ()))
        if conventions == architecture.conventions:
            return _Found(load_tensors(path), classes, conventions)
        told = f"; takes over its {conventions.describe()}"
        return _Found(load_tensors(path), classes, conventions, told)
    state = read_weights(path, source=source, model=model)
    network, told = foreign_network(
        architecture, state, in_channels=in_channels, origin=origin_of(source, model)
    )
    return _Found(network.state_dict(), (), network.architecture.conventions, f"; {told}")
