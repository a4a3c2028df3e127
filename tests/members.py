"""Random members of search spaces, and the traced graph of a network as an independent oracle."""

import random
from collections.abc import Iterator
from typing import Any

import optuna
import torch
from torch import fx, nn

from search_spaces import Architecture, SearchSpace, build_network, list_spaces, load_space
from search_spaces.blocks.convolution import SameConv2d
from search_spaces.blocks.mbconv import DropConnect
from search_spaces.resizing import smallest_resolution

optuna.logging.set_verbosity(optuna.logging.WARNING)
# torch.fx traces no network that finds boxes: torchvision looks at the number of images.
TRACED = [name for name in list_spaces() if "detection" not in load_space(name).tasks()]


class Raw(nn.Module):
    """A network's raw outputs, those of a detector side by side: (N, all of them)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.network.raw(x)
        return (
            torch.cat([part.flatten(1) for part in found.values()], 1)
            if isinstance(found, dict)
            else found
        )


def random_members(space: SearchSpace, count: int, *, seed: int = 0) -> Iterator[Architecture]:
    """Members at their own smallest resolution."""
    for params in _random_params(space, count, seed=seed):
        yield _smallest(space.suggest(optuna.trial.FixedTrial(params)))


def neighbouring_members(
    space: SearchSpace, count: int, *, seed: int = 0
) -> Iterator[tuple[Architecture, Architecture]]:
    """Pairs that differ in one parameter, which may or may not make another network."""
    choices = space.parameters()
    draw = random.Random(seed)
    for params in _random_params(space, count, seed=seed):
        name = draw.choice(sorted(choices))
        other = {**params, name: draw.choice(choices[name])}
        first, second = (space.suggest(optuna.trial.FixedTrial(p)) for p in (params, other))
        yield first, second


def _random_params(space: SearchSpace, count: int, *, seed: int) -> Iterator[dict[str, Any]]:
    draw = random.Random(seed)
    for _ in range(count):
        yield {name: draw.choice(options) for name, options in space.parameters().items()}


def _smallest(member: Architecture) -> Architecture:
    return member.replace(resolution=smallest_resolution(member))


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        own = isinstance(module, SameConv2d | DropConnect)
        return own or super().is_leaf_module(module, qualified_name)


def graph_of(architecture: Architecture) -> tuple[Any, ...]:
    """Operators and their attributes in torch.fx's trace in training mode, names aside.

    With the resolution they fix every shape. An identity is no operator.
    """
    with torch.device("meta"):
        network = build_network(architecture, num_classes=7)
    modules = dict(network.named_modules())
    numbers: dict[fx.Node, int] = {}
    known: dict[tuple[Any, ...], int] = {}
    for node in _Tracer().trace(network).nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Identity):
            numbers[node] = numbers[node.args[0]]
            continue
        operator = repr(module) if module is not None else _operator(node)
        inputs = fx.node.map_arg((node.args, node.kwargs), lambda n: ("node", numbers[n]))
        line = (operator, repr(inputs))
        numbers[node] = known.setdefault(line, len(known))
    return (architecture.resolution, *known)


def _operator(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else node.target.__name__
