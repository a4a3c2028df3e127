"""The model's input from a trial's parameters: every choice as columns of one scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution

from experiments.samplers.known_cost import MOST_REMEMBERED, KnownCost, forget
from experiments.samplers.parameters import ABSENT, levels, numeric, position

Array = npt.NDArray[np.float64]

THRESHOLDS = 16  # steps over a range, so that its columns are 0 or 1, like those of a choice

_STEP = np.sqrt(1 / THRESHOLDS)


@dataclass(frozen=True)
class Encoding:
    """Columns of every parameter that a study has used, or of the networks' descriptions.

    Squared distances summed over a parameter's columns are from 0 to 1. For a choice among numbers
    one half is "equal or not", the other half the number of steps between; a choice among names is
    equal or not; for a range the number of `THRESHOLDS` between counts. A parameter that is absent
    has its own level. The known cost is one more range, logarithmic, over the costs so far: the
    size of a network sums up many of its choices.
    """

    columns: dict[str, dict[Any, tuple[float, ...]]]  # of each value of each choice; {} for a range
    distributions: Mapping[str, BaseDistribution]
    cost: KnownCost
    cost_range: tuple[float, float]
    rows: dict[frozenset[tuple[str, Any]], Array]  # remembered

    @classmethod
    def of(
        cls,
        distributions: Mapping[str, BaseDistribution],
        cost: KnownCost,
        cost_range: tuple[float, float] = (1.0, 1.0),
    ) -> "Encoding":
        """The columns for these parameters; `cost_range` is that of the tried networks."""
        made = cost.made_of(distributions)
        columns = {name: _choices(d) for name, d in made.items()}
        return cls(columns, made, cost, cost_range, {})

    @property
    def groups(self) -> npt.NDArray[np.intp]:
        """Which parameter each column belongs to."""
        widths = [len(self._of(name, {})) for name in self.columns]
        widths += [THRESHOLDS] * self.cost.given
        return np.repeat(np.arange(len(widths)), widths)

    def encode(self, params: Mapping[str, Any]) -> Array:
        """One row (C,)."""
        key = frozenset(params.items())
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = np.array(self._row(params))
            forget(self.rows, MOST_REMEMBERED)
        return row

    def fits(
        self, distributions: Mapping[str, BaseDistribution], cost_range: tuple[float, float]
    ) -> bool:
        """Whether it equals what `of` would make now."""
        made = self.cost.made_of(distributions)
        same = self.distributions is made or self.distributions == made
        return same and self.cost_range == cost_range

    def _row(self, params: Mapping[str, Any]) -> list[float]:
        made = self.cost.network(params)
        row = [column for name in self.columns for column in self._of(name, made)]
        if self.cost.given:
            low, high = np.log(self.cost_range)
            at = np.log(max(self.cost.of(params), self.cost_range[0]))
            row += _steps((at - low) / (high - low) if high > low else 0.5)
        return row

    def _of(self, name: str, params: Mapping[str, Any]) -> tuple[float, ...]:
        choices = self.columns[name]
        if choices:
            known = choices.get(params.get(name, ABSENT))
            return choices[ABSENT] if known is None else known
        if name not in params:
            return (*[_STEP / 2] * THRESHOLDS, np.sqrt(0.5))
        return (*_steps(position(self.distributions[name], params[name])), 0.0)


def _steps(place: float) -> list[float]:
    """The columns of a place from 0 to 1 in a range."""
    return [_STEP * (place * THRESHOLDS >= i + 0.5) for i in range(THRESHOLDS)]


def _choices(distribution: BaseDistribution) -> dict[Any, tuple[float, ...]]:
    values = levels(distribution)
    if not values:
        return {}
    ordered = numeric(values) and len(values) > 2
    same = np.sqrt(0.25 if ordered else 0.5)
    step = np.sqrt(0.5 / (len(values) - 1)) if ordered else 0.0
    found: dict[Any, tuple[float, ...]] = {}
    for at, value in enumerate((*values, ABSENT)):
        row = [same * (at == i) for i in range(len(values) + 1)]
        if ordered:
            inactive = value is ABSENT
            row += [step * (0.5 if inactive else at >= i) for i in range(1, len(values))]
        found[value] = tuple(row)
    return found
