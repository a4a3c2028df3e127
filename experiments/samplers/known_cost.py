"""The objective, and what is known before a trial: network, cost, reward factor, if allowed."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)

from experiments.samplers.parameters import FEW, numeric
from search_spaces.records import InputError

CostOf = Callable[[dict[str, Any]], float] | Mapping[Any, float]
Network = Callable[[dict[str, Any]], Hashable | Mapping[str, Any]]
Limits = tuple[float, float] | Callable[[dict[str, Any]], bool]
Key = Hashable


class KnownCost:
    """`cost` of a trial's parameters, remembered.

    A table's keys are the parameters' values in the order in which they are asked for, as a tuple
    (of a single parameter, the value itself), or `frozenset(params.items())`.

    `network` says what the parameters make: equal for equal networks. Where it is a mapping, of
    names to values, it also is what a model sees of them.
    """

    def __init__(
        self,
        cost: CostOf | None = None,
        *,
        target: float | None = None,
        exponent: float = -0.07,
        limits: Limits | None = None,
        network: Network | None = None,
    ) -> None:
        if cost is None and (target is not None or limits is not None):
            raise InputError("target and limits are of a cost, but cost is None; give the cost too")
        if target is not None and not (math.isfinite(target) and target > 0):
            raise InputError(f"target must be a positive number, but got {target}")
        if not math.isfinite(exponent):
            raise InputError(f"exponent must be a number, but got {exponent}")
        if isinstance(limits, tuple) and not limits[0] <= limits[1]:
            raise InputError(f"`low <= high` must hold for limits, but got {limits}")
        self._cost = cost
        self._target = target
        self._exponent = exponent
        self._limits = limits
        self._network = network
        self._known: dict[frozenset[tuple[str, Any]], float] = {}
        self._networks: dict[frozenset[tuple[str, Any]], Any] = {}
        self._values: dict[str, dict[Any, None]] = {}  # met in networks that are mappings

    @property
    def given(self) -> bool:
        """Whether there is a cost at all."""
        return self._cost is not None

    def network(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the parameters make, by name; the parameters themselves where that is not known."""
        made = self._made(params)
        return made if isinstance(made, Mapping) else params

    def key(self, params: Mapping[str, Any]) -> Key:
        """Equal for equal networks."""
        made = self._made(params)
        return frozenset(made.items()) if isinstance(made, Mapping) else made

    def made_of(self, asked: Mapping[str, BaseDistribution]) -> Mapping[str, BaseDistribution]:
        """The names of networks that are mappings, with the values met so far; else `asked`."""
        if not self._values:
            return asked
        return {name: _over(tuple(values)) for name, values in self._values.items()}

    def of(self, params: Mapping[str, Any]) -> float:
        """The cost. Raises InputError where the function or table has none."""
        assert self._cost is not None
        key = frozenset(params.items())
        if key not in self._known:
            self._known[key] = self._look_up(dict(params), key)
        return self._known[key]

    def factor(self, params: Mapping[str, Any]) -> float:
        """(cost / target)^exponent; 1 without a cost or a target."""
        if self._cost is None or self._target is None:
            return 1.0
        return reward(1.0, self.of(params), target=self._target, exponent=self._exponent)

    def range(self, asked: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
        """The least and the most positive cost among these parameters; (1, 1) where none is known.

        Not of all that was ever looked up: a search that continues has looked up less.
        """
        if not self.given:
            return 1.0, 1.0
        costs = []
        for params in asked:  # one look-up each: there may be ten thousand
            with suppress(InputError):
                costs.append(self.of(params))
        costs = [cost for cost in costs if 0 < cost < math.inf]
        return (min(costs), max(costs)) if costs else (1.0, 1.0)

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
        if self._target is not None and cost <= 0:  # the reward would be infinite
            return False
        if callable(self._limits):
            return self._limits(dict(params))
        low, high = self._limits or (-math.inf, math.inf)
        return low <= cost <= high

    def _made(self, params: Mapping[str, Any]) -> Any:
        if self._network is None:
            return params
        key = frozenset(params.items())
        if key not in self._networks:
            try:
                made = self._networks[key] = self._network(dict(params))
            except (InputError, LookupError, ValueError, TypeError):
                return params  # not whole yet, or parts that do not fit together
            for name, value in made.items() if isinstance(made, Mapping) else ():
                self._values.setdefault(name, {})[value] = None
        return self._networks[key]

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


def _over(values: tuple[Any, ...]) -> BaseDistribution:
    """The choices among these values, or the range of many numbers."""
    if not numeric(values):
        return CategoricalDistribution(sorted(values, key=str))
    if len(values) > FEW:
        return FloatDistribution(min(values), max(values))
    return CategoricalDistribution(sorted(values))


def reward(accuracy: float, cost: float, *, target: float, exponent: float = -0.07) -> float:
    """`accuracy * (cost / target) ** exponent`, accuracy in [0, 1] (arXiv:1905.11946, section 4).

    With w = -0.07 twice the cost has to buy about 5 % relative accuracy (arXiv:1807.11626).
    Raises InputError where cost or target is not positive.
    """
    for name, value in (("cost", cost), ("target", target)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive number, but got {value}")
    return accuracy * math.pow(cost / target, exponent)
