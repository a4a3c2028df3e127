"""Samplers by name; all of them are Optuna samplers and work with plain Optuna too.

May import only Optuna, numpy and `search_spaces.records`. Read `cost_aware` first, then
`accuracy_model`, `proposing`, `recommend`.
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from experiments.samplers.cost_aware import CostAwareSampler
from experiments.samplers.known_cost import CostOf, KnownCost, Limits, Network
from experiments.samplers.pareto import ParetoSampler
from experiments.samplers.recommend import recommend
from experiments.samplers.simple import GridSampler, LocalSearchSampler, RegularizedEvolutionSampler
from search_spaces.records import InputError, suggest

__all__ = ["SAMPLERS", "CostOf", "Network", "make_sampler", "recommend"]


def _tpe(seed: int | None) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


SAMPLERS: dict[str, Callable[[KnownCost, int | None], BaseSampler]] = {
    "cost_aware": lambda cost, seed: CostAwareSampler(cost, seed=seed),
    "gp": lambda _, seed: optuna.samplers.GPSampler(seed=seed),
    "grid": lambda _cost, _seed: GridSampler(),
    "local_search": lambda cost, seed: LocalSearchSampler(cost, seed=seed),
    "nsga2": lambda cost, seed: ParetoSampler(cost, seed=seed),
    "random": lambda _, seed: optuna.samplers.RandomSampler(seed=seed),
    "regularized_evolution": lambda cost, seed: RegularizedEvolutionSampler(cost, seed=seed),
    "tpe": lambda _, seed: _tpe(seed),
}


def make_sampler(
    name: str,
    *,
    cost: CostOf | None = None,
    target: float | None = None,
    exponent: float = -0.07,
    limits: Limits | None = None,
    network: Network | None = None,
    seed: int | None = None,
) -> BaseSampler:
    """An Optuna sampler by name, or any by its import path (`optuna.samplers.CmaEsSampler`).

    For a study that maximises accuracy * (cost / target)^exponent. `cost` is a function of the
    sampled parameters or a table of them (see KnownCost); `limits` is (low, high) on the cost, or a
    function of the parameters that says whether they are allowed. `cost_aware` and `nsga2` use all
    of these, `local_search` and `regularized_evolution` only the limits; Optuna's own samplers do
    not use costs.

    `network` is a function of the parameters too; its values are equal for equal networks.
    `cost_aware` proposes each network once. If the values are mappings of names to values, it
    learns from them instead of the parameters. Raises InputError for an unknown name or wrong cost.
    """
    known = KnownCost(cost, target=target, exponent=exponent, limits=limits, network=network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name in SAMPLERS:
            return SAMPLERS[name](known, seed)
        if "." in name or ":" in name:
            return _imported(name, seed)
    raise InputError(
        f"unknown sampler '{name}'; {suggest(name, SAMPLERS)}; "
        f"or an import path such as optuna.samplers.CmaEsSampler"
    )


def _imported(path: str, seed: int | None) -> BaseSampler:
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        made = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"cannot import the sampler '{path}': {error}") from None
    if not (isinstance(made, type) and issubclass(made, BaseSampler)):
        raise InputError(f"'{path}' is not an Optuna sampler, a subclass of BaseSampler")
    options: dict[str, Any] = {"seed": seed} if "seed" in signature(made).parameters else {}
    try:
        return made(**options)
    except TypeError as error:
        raise InputError(f"the sampler '{path}' needs more than a seed: {error}") from None
    except ImportError as error:
        raise InputError(f"the sampler '{path}' needs a further package: {error}") from None
