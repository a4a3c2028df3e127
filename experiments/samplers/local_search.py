"""Local search (arXiv:2005.02960): the best network's neighbours, until none is better."""

from collections.abc import Iterator, Sequence

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
from experiments.samplers.values import neighbours

STARTUP = 5  # random trials, of which the best is the first to stand on


class LocalSearchSampler(ProposingSampler):
    """One parameter of the best network so far is changed; each change once, in random order.

    When the best network's neighbours have all been tried, the next best network's follow.
    """

    def __init__(self, cost: KnownCost, *, seed: int | None = None) -> None:
        super().__init__(cost, seed=seed)

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        done = [t for t in finished(others) if t.params]
        conditions = self.learn(others)
        if conditions is None or len(done) < STARTUP:
            return {}
        sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
        asked = asked_for(others, self.underway(others))
        for trial in sorted(done, key=lambda t: -sign * (t.value or 0.0)):
            for near in self._neighbours(trial):
                whole = conditions.complete(near, self.rng)
                if key_of(whole) not in asked and self.allows(whole):
                    return whole
        return {}

    def _neighbours(self, trial: FrozenTrial) -> Iterator[Params]:
        changes = [
            (name, value)
            for name, distribution in trial.distributions.items()
            for value in neighbours(distribution, trial.params[name], self.rng)
        ]
        for at in self.rng.permutation(len(changes)):
            name, value = changes[at]
            yield {**trial.params, name: value}
