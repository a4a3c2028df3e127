"""NSGA-II (Deb et al. 2002) over accuracy and cost, for studies of one objective.

Optuna's own needs a study of two objectives, whose trials cannot report epochs and so cannot be
stopped early. Here the second objective is the known cost, so the study needs only one.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from optuna import Study
from optuna.trial import FrozenTrial

from experiments.samplers.known_cost import KnownCost
from experiments.samplers.observations import Observations
from experiments.samplers.parameters import ParameterConditions, change
from experiments.samplers.proposing import (
    Params,
    ProposingSampler,
    asked_for,
    finished,
    key_of,
)

TRIES = 100  # children tried until one is new and allowed

Array = npt.NDArray[np.float64]


class ParetoSampler(ProposingSampler):
    """Children of the best `population` networks of all trials, by front and crowding."""

    def __init__(self, cost: KnownCost, *, seed: int | None = None, population: int = 30) -> None:
        super().__init__(cost, seed=seed)
        self._population = population

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:  # noqa: ARG002
        """A child of two of the best; random before `population` trials are done."""
        observed = Observations.of(finished(others), self.cost)
        conditions = self.learn(others)
        if conditions is None or len(observed.values) < self._population:
            return {}
        costs = [self.cost.of(p) if self.cost.given else 0.0 for p in observed.params]
        order = by_front(observed.values, np.array(costs))[: self._population]
        parents = [observed.params[i] for i in order]
        asked = asked_for(others, self.underway(others))
        for _ in range(TRIES):
            child = self._child(parents, conditions)
            if key_of(child) not in asked and self.allows(child):
                return child
        return child

    def _child(self, parents: Sequence[Params], conditions: ParameterConditions) -> Params:
        """Uniform crossover of two tournament winners, then random changes of parameters."""
        # `parents` is sorted, so the winner of a tournament is the lower position.
        mother, father = (parents[self.rng.integers(len(parents), size=2).min()] for _ in range(2))
        wanted = dict(father)
        for name, value in mother.items():
            if name not in wanted or self.rng.random() < 0.5:
                wanted[name] = value
        for name in wanted:
            if self.rng.random() < 1 / len(mother):
                wanted[name] = change(conditions.distributions[name], wanted[name], self.rng)
        return conditions.complete(wanted, self.rng)


def by_front(values: Array, costs: Array) -> list[int]:
    """From best to worst: by front (more value, less cost), within a front by crowding distance."""
    better = (values[:, None] >= values[None]) & (costs[:, None] <= costs[None])
    dominates = better & ~better.T
    left = np.ones(len(values), dtype=bool)
    order: list[int] = []
    while left.any():
        front = np.flatnonzero(left & ~dominates[left].any(axis=0))
        order += front[np.argsort(-_crowding(values[front], costs[front]), kind="stable")].tolist()
        left[front] = False
    return order


def _crowding(values: Array, costs: Array) -> Array:
    """The crowding distance in a front: the sum over both axes of the neighbours' distance."""
    room = np.zeros(len(values))
    for axis in (values, costs):
        order = np.argsort(axis, kind="stable")
        width = float(np.ptp(axis)) or 1.0
        room[order[[0, -1]]] = np.inf
        room[order[1:-1]] += (axis[order[2:]] - axis[order[:-2]]) / width
    return room
