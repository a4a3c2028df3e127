"""Samplers by name; all of them are Optuna samplers and work with plain Optuna too."""

import warnings
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler

from search_spaces.records import choose


def _tpe(seed: int | None) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, constant_liar=True
        )


SAMPLERS: dict[str, Callable[[int | None], BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": _tpe,
}


def make_sampler(name: str, *, seed: int | None = None) -> BaseSampler:
    """An Optuna sampler by name.

    `tpe` is multivariate, grouped (for conditional choices) and counts running trials as bad
    (constant liar). Raises InputError for an unknown name.
    """
    factory: Callable[[int | None], BaseSampler] = choose(SAMPLERS, name, what="sampler")
    return factory(seed)
