"""Which parameters a define-by-run space asks for, learned from the trials that it has made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from experiments.samplers.values import draw

ABSENT = object()  # the value of a parameter that was not asked for

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Conditions:
    """Every parameter seen, parents before children, and what each one's being asked depends on.

    A parameter that some trials lack belongs to one earlier parameter whose value tells in which.
    Where none does, it counts as asked for: a value too many in a proposal does no harm.
    """

    distributions: dict[str, BaseDistribution]
    parents: dict[str, tuple[str, dict[Any, bool]]]  # child: (parent, asked for at its value?)

    @classmethod
    def learn(
        cls, trials: Sequence[Params], distributions: dict[str, BaseDistribution]
    ) -> "Conditions":
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
        """A setting of all that is asked for: `wanted` as far as it goes, the rest drawn."""
        params: dict[str, Any] = {}
        for name, distribution in self.distributions.items():
            if self.asked(name, params):
                value = wanted.get(name, ABSENT)
                params[name] = draw(distribution, rng) if value is ABSENT else value
        return params

    def asked(self, name: str, params: Params) -> bool:
        """Whether `name` is asked for, given the parameters before it."""
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
        """Whether exactly these parameters were to be expected together."""
        return all(self.asked(name, params) == (name in params) for name in self.distributions)


def _shared(one: str, other: str) -> int:
    """How many characters two names begin with alike, as `a.kind` and `a.kind.x.size` do."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def _rule(trials: Sequence[Params], parent: str, asked: list[bool]) -> dict[Any, bool] | None:
    """At which values of `parent` the child is asked for; None if the value does not tell."""
    rule: dict[Any, bool] = {}
    for params, was_asked in zip(trials, asked, strict=True):
        if rule.setdefault(params.get(parent, ABSENT), was_asked) != was_asked:
            return None
    return rule
