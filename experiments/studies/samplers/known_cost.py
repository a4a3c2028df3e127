"""What is known before a trial: its cost, the factor of its reward, whether it is allowed."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from experiments.studies.objective import reward
from search_spaces.records import InputError

Cost = Callable[[dict[str, Any]], float] | Mapping[Any, float]


class KnownCost:
    """`cost` of a trial's parameters, remembered.

    A table's keys are the parameters' values in the order in which they are asked for, as a tuple
    (of a single parameter, the value itself), or `frozenset(params.items())`.
    """

    def __init__(
        self,
        cost: Cost | None = None,
        *,
        target: float | None = None,
        exponent: float = -0.07,
        limits: tuple[float, float] | None = None,
    ) -> None:
        if cost is None and (target is not None or limits is not None):
            raise InputError("target and limits are of a cost, but cost is None; give the cost too")
        if target is not None and not (math.isfinite(target) and target > 0):
            raise InputError(f"target must be a positive number, but got {target}")
        if not math.isfinite(exponent):
            raise InputError(f"exponent must be a number, but got {exponent}")
        if limits is not None and not limits[0] <= limits[1]:
            raise InputError(f"`low <= high` must hold for limits, but got {limits}")
        self._cost = cost
        self._target = target
        self._exponent = exponent
        self._limits = limits
        self._known: dict[frozenset[tuple[str, Any]], float] = {}
        self._least, self._most = math.inf, 0.0

    @property
    def given(self) -> bool:
        return self._cost is not None

    def of(self, params: Mapping[str, Any]) -> float:
        """The cost. Raises InputError where the function or table has none."""
        assert self._cost is not None
        key = frozenset(params.items())
        if key not in self._known:
            cost = self._look_up(dict(params), key)
            self._known[key] = cost
            if cost > 0:
                self._least, self._most = min(self._least, cost), max(self._most, cost)
        return self._known[key]

    def factor(self, params: Mapping[str, Any]) -> float:
        """(cost / target)^exponent; 1 without a cost or a target."""
        if self._cost is None or self._target is None:
            return 1.0
        return reward(1.0, self.of(params), target=self._target, exponent=self._exponent)

    def range(self) -> tuple[float, float]:
        """The least and the most cost looked up so far; (1, 1) before the first."""
        return (self._least, self._most) if self._most else (1.0, 1.0)

    def knows(self, params: Mapping[str, Any]) -> bool:
        """Whether the function or table has a cost for them."""
        try:
            return self._cost is None or math.isfinite(self.of(params))
        except InputError:
            return False

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether the cost is known and within the limits."""
        if self._cost is None:
            return True
        if not self.knows(params):
            return False
        cost = self.of(params)
        low, high = self._limits or (-math.inf, math.inf)
        return low <= cost <= high and (self._target is None or cost > 0)

    def _look_up(self, params: dict[str, Any], key: frozenset[tuple[str, Any]]) -> float:
        try:
            if callable(self._cost):
                return float(self._cost(params))
            values = tuple(params.values())
            for name in (values, values[0] if len(values) == 1 else values, key):
                if name in self._cost:  # type: ignore[operator]
                    return float(self._cost[name])  # type: ignore[index]
        except (LookupError, ValueError, TypeError) as error:
            raise InputError(f"no cost for the parameters {params}: {error!r}") from error
        raise InputError(f"no cost for the parameters {params} in the table")
