"""Parameters of a space: values of one (random, changed, near), and which occur together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search_spaces.records import InputError

FEW = 16  # an integer with at most so many values is treated as a choice
STEP = 0.2  # of a range's width: the standard deviation of a change


def levels(distribution: BaseDistribution) -> tuple[Any, ...]:
    """All values of a choice or a short integer range; () for a longer range."""
    if isinstance(distribution, CategoricalDistribution):
        values = tuple(distribution.choices)
        return tuple(sorted(values)) if numeric(values) else values
    if isinstance(distribution, IntDistribution) and not distribution.log:
        steps = range(distribution.low, distribution.high + 1, distribution.step)
        return tuple(steps) if len(steps) <= FEW else ()
    return ()


def numeric(values: tuple[Any, ...]) -> bool:
    """Whether all are numbers; True and False are not."""
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def position(distribution: BaseDistribution, value: Any) -> float:
    """A value's position in its range, from 0 to 1; in a logarithmic one by its logarithm."""
    low, high = _ends(distribution)
    at = np.log(value) if getattr(distribution, "log", False) else float(value)
    return float(np.clip((at - low) / (high - low), 0.0, 1.0)) if high > low else 0.5


def draw_value(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    """A random value, all equally likely (in a logarithmic range, all ratios)."""
    known = levels(distribution)
    if known:
        return known[rng.integers(len(known))]
    return _at(distribution, rng.random())


def change(distribution: BaseDistribution, value: Any, rng: np.random.Generator) -> Any:
    """Another value: any other of a choice; in a range one nearby."""
    known = [level for level in levels(distribution) if level != value]
    if known:
        return known[rng.integers(len(known))]
    if levels(distribution):
        return value
    return _at(distribution, position(distribution, value) + rng.normal(0.0, STEP))


def neighbours(distribution: BaseDistribution, value: Any, rng: np.random.Generator) -> list[Any]:
    """Every other value of a choice; for a range, four random ones nearby."""
    if levels(distribution):
        return [level for level in levels(distribution) if level != value]
    return [change(distribution, value, rng) for _ in range(4)]


def grid(distribution: BaseDistribution, name: str) -> tuple[Any, ...]:
    """All values in order. Raises InputError for a continuous range without a step."""
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return tuple(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is None:
        raise InputError(f"grid needs steps, but '{name}' is continuous; give suggest_float a step")
    count = round((distribution.high - distribution.low) / distribution.step)
    # 3 * 0.1 is a little above 0.3: the last value would not be in its own range.
    values = (distribution.low + i * distribution.step for i in range(count + 1))
    return tuple(min(value, distribution.high) for value in values)


def grid_place(distribution: BaseDistribution, value: Any) -> int:
    """A value's index in `grid`; a float with a rounding error counts as the nearest one."""
    at = distribution.to_internal_repr(value)
    if isinstance(distribution, CategoricalDistribution):
        return int(at)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return round((at - distribution.low) / (distribution.step or 1))


def _ends(distribution: BaseDistribution) -> tuple[float, float]:
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.log:
        return float(np.log(distribution.low)), float(np.log(distribution.high))
    return float(distribution.low), float(distribution.high)


def _at(distribution: BaseDistribution, place: float) -> Any:
    """The value at a place from 0 to 1 of a range, on its steps."""
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = _ends(distribution)
    value = low + (high - low) * float(np.clip(place, 0.0, 1.0))
    value = float(np.exp(value)) if distribution.log else value
    if distribution.step is not None:
        value = distribution.low + round((value - distribution.low) / distribution.step) * (
            distribution.step
        )
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else value


class _Absent(Enum):
    """An enum, as its members keep their identity in a copy or a pickle; an `object()` does not."""

    ABSENT = "not asked for"


ABSENT: Final = _Absent.ABSENT  # the value of a parameter that a trial does not have

Params = Mapping[str, Any]


@dataclass(frozen=True)
class ParameterConditions:
    """Every parameter so far, parents before children, and the condition under which it occurs.

    A parameter that some trials lack has one earlier parameter as its parent, whose value decides.
    Without such a parent it counts as always there: an extra value in a proposal does no harm.
    """

    distributions: dict[str, BaseDistribution]
    parents: dict[str, tuple[str, dict[Any, bool]]]  # child: (parent, asked for at its value?)

    @classmethod
    def learn(
        cls, trials: Sequence[Params], distributions: dict[str, BaseDistribution]
    ) -> "ParameterConditions":
        """The conditions that fit all `trials`; `distributions` in the order of the suggestions."""
        names = list(distributions)
        parents: dict[str, tuple[str, dict[Any, bool]]] = {}
        for at, child in enumerate(names):
            asked = [child in params for params in trials]
            if all(asked):
                continue
            for i in sorted(range(at), key=lambda i: (_shared(names[i], child), i), reverse=True):
                rule = _rule(trials, names[i], asked)
                if rule is not None:
                    parents[child] = (names[i], rule)
                    break
        return cls(distributions, parents)

    def complete(self, wanted: Params, rng: np.random.Generator) -> dict[str, Any]:
        """A complete setting: values of `wanted` where it has them, the rest random."""
        params: dict[str, Any] = {}
        for name, distribution in self.distributions.items():
            if name not in self.parents or self.asked(name, params):
                value = wanted.get(name, ABSENT)
                params[name] = draw_value(distribution, rng) if value is ABSENT else value
        return params

    def asked(self, name: str, params: Params) -> bool:
        """Whether `name` occurs, given the parameters before it."""
        if name not in self.parents:
            return True
        parent, rule = self.parents[name]
        value = params.get(parent, ABSENT)
        if value in rule:
            return rule[value]
        known = [v for v in rule if isinstance(v, int | float)]
        if isinstance(value, int | float) and known:
            return rule[min(known, key=lambda v: abs(v - value))]
        return False

    def explain(self, params: Params) -> bool:
        """Whether the conditions predict exactly these parameters together."""
        return all(self.asked(name, params) == (name in params) for name in self.distributions)


def _shared(one: str, other: str) -> int:
    """How many first characters two names share, as `a.kind` and `a.kind.x.size` do."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def _rule(trials: Sequence[Params], parent: str, asked: list[bool]) -> dict[Any, bool] | None:
    """At which values of `parent` the child occurs; None if the value does not decide it."""
    rule: dict[Any, bool] = {}
    for params, was_asked in zip(trials, asked, strict=True):
        if rule.setdefault(params.get(parent, ABSENT), was_asked) != was_asked:
            return None
    return rule
