"""What the model sees of a trial's parameters: every choice as columns of one scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution

from experiments.studies.samplers.values import levels, numeric, position

THRESHOLDS = 16  # steps over a range, so that its columns are 0 or 1 as a choice's are

_INACTIVE = object()


@dataclass(frozen=True)
class Encoding:
    """Columns of every parameter that a study has asked for.

    Squared distances summed over a parameter's columns run from 0 to 1. A choice among numbers is
    half "equal or not" and half how many steps lie between; a choice among names is equal or not;
    of a range counts how many of `THRESHOLDS` lie between. A parameter that was not asked for is at
    a level of its own.
    """

    columns: dict[str, dict[Any, tuple[float, ...]]]  # of each value of each choice; {} for a range
    distributions: Mapping[str, BaseDistribution]

    @classmethod
    def of(cls, distributions: Mapping[str, BaseDistribution]) -> "Encoding":
        return cls({name: _choices(d) for name, d in distributions.items()}, dict(distributions))

    @property
    def groups(self) -> npt.NDArray[np.intp]:
        """Which parameter each column belongs to."""
        widths = [len(self._of(name, {})) for name in self.columns]
        return np.repeat(np.arange(len(widths)), widths)

    def encode(self, params: Mapping[str, Any]) -> list[float]:
        """One row."""
        return [column for name in self.columns for column in self._of(name, params)]

    def _of(self, name: str, params: Mapping[str, Any]) -> tuple[float, ...]:
        choices = self.columns[name]
        if choices:
            known = choices.get(params.get(name, _INACTIVE))
            return choices[_INACTIVE] if known is None else known
        step = np.sqrt(1 / THRESHOLDS)
        if name not in params:
            return (*[step / 2] * THRESHOLDS, np.sqrt(0.5))
        place = position(self.distributions[name], params[name]) * THRESHOLDS
        return (*(step * (place >= i + 0.5) for i in range(THRESHOLDS)), 0.0)


def _choices(distribution: BaseDistribution) -> dict[Any, tuple[float, ...]]:
    values = levels(distribution)
    if not values:
        return {}
    ordered = numeric(values) and len(values) > 2
    same = np.sqrt(0.25 if ordered else 0.5)
    step = np.sqrt(0.5 / (len(values) - 1)) if ordered else 0.0
    found: dict[Any, tuple[float, ...]] = {}
    for at, value in enumerate((*values, _INACTIVE)):
        row = [same * (at == i) for i in range(len(values) + 1)]
        if ordered:
            inactive = value is _INACTIVE
            row += [step * (0.5 if inactive else at >= i) for i in range(1, len(values))]
        found[value] = tuple(row)
    return found
