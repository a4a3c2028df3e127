"""The objective, and the facts known before a trial: network, cost, factor of reward, limits."""

import math
from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
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


# Settings that are remembered: a suggestion looks at about 1,500, most of them those of the one
# before. Ten thousand suggestions would need some millions, of 4 KiB each.
MOST_REMEMBERED = 10_000


class Facts:
    """The known facts of one setting of the parameters; each is looked up once, when needed."""

    def __init__(self, at: frozenset[tuple[str, Any]], params: Mapping[str, Any], of: "KnownCost"):
        self._at = at
        self._params = dict(params)
        self._of = of
        self.trouble = ""  # why there is no cost, once it was looked up

    @cached_property
    def made(self) -> Any:
        """The value of `network` for them; the parameters themselves if it is not known."""
        return self._of.made(self._params)

    @cached_property
    def key(self) -> Key:
        """Equal for equal networks."""
        if self.made is self._params:
            return self._at
        return frozenset(self.made.items()) if isinstance(self.made, Mapping) else self.made

    @cached_property
    def cost(self) -> float:
        """The cost; nan without a cost, or if the function or table has none."""
        if not self._of.given:
            return math.nan
        try:
            return self._of.looked_up(self._params, self._at)
        except InputError as error:
            self.trouble = str(error)
            return math.nan

    @cached_property
    def known(self) -> bool:
        """Whether the function or table has a cost for them."""
        return not self._of.given or math.isfinite(self.cost)

    @cached_property
    def factor(self) -> float:
        """(cost / target)^exponent; 1 without a cost or a target."""
        return self._of.factor_of(self)

    @cached_property
    def _within(self) -> bool:
        return self.known and (not self._of.given or self._of.within(self._params, self.cost))

    @property
    def allowed(self) -> bool:
        """Whether the cost is known, within the limits, and in the present window."""
        low, high = self._of.window
        return self._within and (not self._of.given or low <= self.cost <= high)


class KnownCost:
    """`cost` of a trial's parameters, remembered.

    A table's keys are the parameters' values in the order of the suggestions, as a tuple (for a
    single parameter the value itself), or `frozenset(params.items())`.

    `network` gives equal values for equal networks. If a value is a mapping of names to values, it
    is also the model's input.

    `window` (low, high) is a limit of cost that may change from one suggestion to the next.
    """

    window = (-math.inf, math.inf)

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
            raise InputError("target and limits need a cost, but cost is None; give the cost too")
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
        self._facts: dict[frozenset[tuple[str, Any]], Facts] = {}
        self._values: dict[str, dict[Any, None]] = {}  # met in mappings that `network` gave

    @property
    def given(self) -> bool:
        """Whether there is a cost at all."""
        return self._cost is not None

    def facts(self, params: Mapping[str, Any]) -> Facts:
        """All known facts of them, by one look-up."""
        at = frozenset(params.items())
        found = self._facts.get(at)
        if found is None:
            found = self._facts[at] = Facts(at, params, self)
            forget(self._facts, MOST_REMEMBERED)
        return found

    def network(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The mapping that `network` gives; the parameters themselves without one."""
        made = self.facts(params).made
        return made if isinstance(made, Mapping) else params

    def key(self, params: Mapping[str, Any]) -> Key:
        """Equal for equal networks."""
        return self.facts(params).key

    def made_of(self, asked: Mapping[str, BaseDistribution]) -> Mapping[str, BaseDistribution]:
        """The names in mappings that `network` gave, with the values so far; else `asked`."""
        if not self._values:
            return asked
        return {name: _over(tuple(values)) for name, values in self._values.items()}

    def of(self, params: Mapping[str, Any]) -> float:
        """The cost. Raises InputError if the function or table has none."""
        assert self._cost is not None
        facts = self.facts(params)
        cost = facts.cost
        if facts.trouble:
            raise InputError(facts.trouble)
        return cost

    def factor(self, params: Mapping[str, Any]) -> float:
        """(cost / target)^exponent; 1 without a cost or a target."""
        return self.facts(params).factor

    def range(self, costs: npt.NDArray[np.float64]) -> tuple[float, float]:
        """The least and the largest positive of these costs; (1, 1) if none is known.

        Not of all costs ever looked up: a continued search has looked up fewer.
        """
        known = costs[(costs > 0) & np.isfinite(costs)]
        return (float(known.min()), float(known.max())) if len(known) else (1.0, 1.0)

    def knows(self, params: Mapping[str, Any]) -> bool:
        """Whether the function or table has a cost for them."""
        return self.facts(params).known

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether the cost is known and within the limits."""
        return self.facts(params).allowed

    def made(self, params: dict[str, Any]) -> Any:
        """The value of `network` for them, looked up again."""
        if self._network is None:
            return params
        try:
            made = self._network(dict(params))
        except (InputError, LookupError, ValueError, TypeError):
            return params  # incomplete, or with parts that do not fit together
        for name, value in made.items() if isinstance(made, Mapping) else ():
            self._values.setdefault(name, {})[value] = None
        return made

    def factor_of(self, facts: Facts) -> float:
        """The reward's other factor. Raises InputError if the cost is not known."""
        if self._cost is None or self._target is None:
            return 1.0
        cost = facts.cost
        if facts.trouble:
            raise InputError(facts.trouble)
        return reward(1.0, cost, target=self._target, exponent=self._exponent)

    def within(self, params: dict[str, Any], cost: float) -> bool:
        """Whether a known cost is within the limits."""
        if self._target is not None and cost <= 0:  # the reward would be infinite
            return False
        if callable(self._limits):
            return self._limits(dict(params))
        low, high = self._limits or (-math.inf, math.inf)
        return low <= cost <= high

    def looked_up(self, params: dict[str, Any], key: frozenset[tuple[str, Any]]) -> float:
        """The cost, looked up again. Raises InputError if the function or table has none."""
        assert self._cost is not None
        try:
            if callable(self._cost):
                return float(self._cost(dict(params)))
            values = tuple(params.values())
            for name in (values, values[0] if len(values) == 1 else values, key):
                if name in self._cost:
                    return float(self._cost[name])
        except (LookupError, ValueError, TypeError) as error:
            raise InputError(f"no cost for the parameters {params}: {error!r}") from error
        raise InputError(f"no cost for the parameters {params} in the table")


def forget(kept: dict[Any, Any], most: int) -> None:
    """Drop the older half of `kept` if it has more than `most`; it is computed again if needed."""
    if len(kept) > most:
        for key in list(islice(kept, most // 2)):
            del kept[key]


def _over(values: tuple[Any, ...]) -> BaseDistribution:
    """The choices among these values, or the range of many numbers."""
    if not numeric(values):
        return CategoricalDistribution(sorted(values, key=str))
    if len(values) > FEW:
        return FloatDistribution(min(values), max(values))
    return CategoricalDistribution(sorted(values))


def reward(accuracy: float, cost: float, *, target: float, exponent: float = -0.07) -> float:
    """`accuracy * (cost / target) ** exponent`, accuracy in [0, 1] (arXiv:1905.11946, section 4).

    With w = -0.07 twice the cost must give about 5 % more accuracy, relatively (arXiv:1807.11626).
    Raises InputError if cost or target is not positive.
    """
    for name, value in (("cost", cost), ("target", target)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive number, but got {value}")
    return accuracy * math.pow(cost / target, exponent)
