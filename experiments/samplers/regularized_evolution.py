"""Regularized evolution (arXiv:1802.01548, Algorithm 1): the oldest dies, not the worst."""

from collections.abc import Sequence

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from experiments.samplers.known_cost import KnownCost
from experiments.samplers.proposing import (
    Params,
    ProposingSampler,
    asked_for,
    finished,
    key_of,
)
from experiments.samplers.values import change

TRIES = 100  # mutations looked at until one is new and allowed


class RegularizedEvolutionSampler(ProposingSampler):
    """The best of a few drawn from the latest `population` has one parameter changed.

    The paper has 100 and 25; a search of some hundred trials wants fewer.
    """

    def __init__(
        self, cost: KnownCost, *, seed: int | None = None, population: int = 20, sample: int = 5
    ) -> None:
        super().__init__(cost, seed=seed)
        self._population = population
        self._sample = sample

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        alive = [t for t in finished(others)[-self._population :] if t.params]
        conditions = self.learn(others)
        if conditions is None or len(alive) < self._population:
            return {}
        sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
        asked = asked_for(others, self.underway(others))
        for _ in range(TRIES):
            drawn = self.rng.choice(len(alive), size=self._sample, replace=False)
            parent = max((alive[i] for i in drawn), key=lambda t: sign * (t.value or 0.0))
            name = list(parent.params)[self.rng.integers(len(parent.params))]
            value = change(parent.distributions[name], parent.params[name], self.rng)
            child = conditions.complete({**parent.params, name: value}, self.rng)
            if key_of(child) not in asked and self.allows(child):
                return child
        return child
