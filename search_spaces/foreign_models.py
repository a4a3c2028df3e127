"""timm's and torchvision's models of our networks: their names, and what they do otherwise.

Two models with equal tensors may give other scores: batch norm has another epsilon, convolutions
pad at other sides, a stride stands elsewhere. The library's own model tells, where it is installed.
"""

import math
import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal, get_args

import torch
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.blocks import Conventions
from search_spaces.network import Network
from search_spaces.records import InputError

Source = Literal["timm", "torchvision"]
_BUILDERS = {"timm": ("timm", "create_model"), "torchvision": ("torchvision.models", "get_model")}
_CLASSES = 10  # of the models that are compared: few, because the classifiers are not in question
_PIXELS = 128  # even maps at every stride, where the paddings differ; no network is too deep for it
_TOLERANCE = 1e-3  # of the largest score; equal networks differ by rounding, 1e-5 at the most
# Where the library calls a network of ours by another name.
_OTHER_NAMES = {
    "googlenet_3x3": ("googlenet",),
    "googlenet_3x3_aux": ("googlenet",),
    "inception_v3_aux": ("inception_v3",),
    "mobilenet_v1": ("mobilenetv1_100",),
    "mobilenet_v2": ("mobilenet_v2", "mobilenetv2_100"),
    "mnasnet_a1": ("semnasnet_100",),
    "mnasnet_b1": ("mnasnet1_0", "mnasnet_100"),
}


@dataclass(frozen=True)
class Origin:
    """A library and its model."""

    source: Source
    model: str

    def __str__(self) -> str:
        return f"{self.source}'s {self.model}"


def known_origins(architecture: Architecture, names: Iterable[str]) -> list[Origin]:
    """The models that `architecture` is known to be, whose tensors have the `names`.

    Empty where the name says nothing, as of a network of one's own, or no library is installed.
    """
    ours = architecture.name.removesuffix("_v1")  # the same tensors, with a stride elsewhere
    candidates = _OTHER_NAMES.get(ours, (ours, f"tf_{ours}"))
    wanted = {name for name in names if has_part(name)}
    if any(name.startswith("stages.") for name in wanted):
        return []  # a network of ours
    found = []
    for source in get_args(Source):
        for model in candidates:
            try:
                theirs = _skeleton(Origin(source, model)).state_dict()
            except InputError:
                continue
            if wanted == {name for name in theirs if has_part(name)}:
                found.append(Origin(source, model))
    return found


def has_part(name: str) -> bool:
    """Whether every copy of the weights has this tensor: no counter, no auxiliary classifier."""
    return not (name.endswith("num_batches_tracked") or is_auxiliary(name))


def is_auxiliary(name: str) -> bool:
    """Whether a tensor is of torchvision's auxiliary classifiers (googlenet, inception_v3)."""
    return name.startswith(("aux", "AuxLogits"))


def foreign_names(origin: Origin) -> list[str]:
    """The names of the model's tensors in its order. InputError where there is no such model."""
    return list(_skeleton(origin).state_dict())


def conventions_of(origin: Origin, ours: Conventions) -> Conventions:
    """`ours` with the batch norm and the padding of the library's model."""
    modules = list(_skeleton(origin).modules())
    eps = {module.eps for module in modules if isinstance(module, nn.BatchNorm2d)}
    same = any(type(module).__name__ == "Conv2dSame" for module in modules)  # timm's
    changes: dict[str, Any] = {"padding": "same" if same else "symmetric"}
    if len(eps) == 1:
        changes["batch_norm_eps"] = eps.pop()
    return ours.replace(**changes)


def check_same_function(
    architecture: Architecture, origin: Origin, pairs: Mapping[str, str]
) -> None:
    """Raise InputError where `architecture` gives other scores than the library's model.

    Both get the same random weights and images; `pairs` are our names and the library's.
    """
    with torch.device("meta"):
        ours = Network(architecture, num_classes=_CLASSES, in_channels=3)
    own, theirs = _filled(ours), _filled(deepcopy(_skeleton(origin, classes=_CLASSES)))
    state = theirs.state_dict()
    own.load_state_dict({mine: state[other] for mine, other in pairs.items()}, strict=False)
    images = torch.randn(2, 3, _PIXELS, _PIXELS, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got, wanted = own(images), theirs(images)
    distance = ((got - wanted).abs().max() / wanted.abs().max()).item()
    if not distance < _TOLERANCE:
        raise InputError(
            f"the weights are of {origin}, and '{architecture.name}' gives other scores with them "
            f"(off by {distance:.0%}): a stride, an activation or a pooling differs; "
            f"take the architecture that is {origin}"
        )


def _filled(network: nn.Module) -> nn.Module:
    """In eval mode, with random weights that keep the signal's size."""
    network = network.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            tensor.zero_()
        elif tensor.dim() > 1:
            spread = math.sqrt(2 / math.prod(tensor.shape[1:]))
            tensor.normal_(std=spread, generator=generator)
        elif name.endswith(("running_var", "weight")):
            tensor.uniform_(0.5, 1.1, generator=generator)
        else:
            tensor.uniform_(-0.1, 0.1, generator=generator)
    return network


@cache
def _skeleton(origin: Origin, *, classes: int = 1000) -> nn.Module:
    """The library's model without memory for its tensors. InputError where there is none."""
    module, function = _BUILDERS[origin.source]
    try:
        build = getattr(import_module(module), function)
    except ImportError:
        raise InputError(
            f"{origin.source} is not installed; try: pip install {origin.source}"
        ) from None
    options: dict[str, Any] = {"num_classes": classes}
    if origin.source == "torchvision" and origin.model in ("googlenet", "inception_v3"):
        options["init_weights"] = False  # takes seconds, and warns
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build(origin.model, **options)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{origin.source} has no model '{origin.model}': {error}") from None
