"""The private names of Optuna that the samplers use; a test asserts that each exists.

| name | what for |
|---|---|
| `optuna.samplers._lazy_random_state.LazyRandomState` | its `rng` is what a sampler draws from |
| `Study._thread_local.in_optimize_loop` | `Study.stop` raises an error outside of `optimize` |
| `BaseDistribution._contains` | whether a distribution holds a value; no public name says so |
| `InMemoryStorage._set_trial`, `._update_cache` | a study lets no ended trial change |
| `FrozenTrial._trial_id` | the storage's number of a trial |
"""

from copy import copy
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial

_FEW = 64  # parts; a longer list is a sampler's memory of trials


def stop(study: Study) -> None:
    """End the loop of `study.optimize`, if there is one; `ask` has none."""
    if study._thread_local.in_optimize_loop:
        study.stop()


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether the distribution holds the value."""
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):  # of another type, as text for a number
        return False


def replace_trial(study: Study, number: int, trial: FrozenTrial) -> None:
    """Replace an ended trial by `trial`, in a study in memory."""
    storage = study._storage
    assert isinstance(storage, InMemoryStorage)
    trial_id = study.get_trials(deepcopy=False)[number]._trial_id
    placed = copy(trial)
    placed.number, placed._trial_id = number, trial_id
    storage._set_trial(trial_id, placed)
    storage._update_cache(trial_id, study._study_id)


def reseed(sampler: BaseSampler, entropy: tuple[int, ...]) -> None:
    """Seed every random generator within `sampler` again, as a function of `entropy` alone.

    The next draws then depend on the study and on `entropy`, not on the number of earlier draws: so
    a continued search goes on as one that was never interrupted. Generators are found in the
    sampler's attributes and in those of the samplers within it.
    """
    seeds = np.random.SeedSequence(entropy)
    for generator in _generators(sampler, set()):
        (child,) = seeds.spawn(1)
        if isinstance(generator, np.random.Generator):
            fresh = type(generator.bit_generator)(child)
            generator.bit_generator.state = fresh.state
        else:
            generator.seed(int(child.generate_state(1)[0]))


def _generators(holder: Any, seen: set[int]) -> list[np.random.RandomState | np.random.Generator]:
    if id(holder) in seen:
        return []
    seen.add(id(holder))
    if isinstance(holder, LazyRandomState):
        return [holder.rng]
    if isinstance(holder, np.random.RandomState | np.random.Generator):
        return [holder]
    inner: list[Any] = []
    if isinstance(holder, dict) and len(holder) <= _FEW:
        inner = list(holder.values())
    elif isinstance(holder, list | tuple) and len(holder) <= _FEW:
        inner = list(holder)
    elif type(holder).__module__.split(".")[0] in ("optuna", "experiments"):
        inner = list(vars(holder).values()) if hasattr(holder, "__dict__") else []
    return [found for part in inner for found in _generators(part, seen)]
