"""Three simple strategies: regularized evolution, local search, and a grid."""

from collections.abc import Iterator, Sequence
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from experiments.samplers.known_cost import KnownCost
from experiments.samplers.optuna_names import stop
from experiments.samplers.parameters import change, grid, neighbours
from experiments.samplers.proposing import (
    Params,
    ProposingSampler,
    asked_for,
    finished,
    key_of,
)

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


class GridSampler(ProposingSampler):
    """Counts like an odometer: the last parameter first, and what follows a change starts anew.

    It goes on from the latest trial, whatever became of it; after the last setting
    `study.optimize` stops. Ranges need steps.
    """

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        whole = [t for t in others if t.params]
        if not whole:
            return {}
        following = _following(whole[-1])
        if following is None:
            stop(study)
            return {}
        return following

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """The proposal's value, else the first."""
        if param_name in self._proposals.get(trial.number, {}):
            return super().sample_independent(study, trial, param_name, param_distribution)
        return grid(param_distribution, param_name)[0]


def _following(trial: FrozenTrial) -> dict[str, Any] | None:
    """The setting after a trial's: the parameters up to the one that moves on; None at the end."""
    names = list(trial.params)
    for at in reversed(range(len(names))):
        name = names[at]
        values = grid(trial.distributions[name], name)
        place = values.index(trial.params[name])
        if place + 1 < len(values):
            return {**{n: trial.params[n] for n in names[:at]}, name: values[place + 1]}
    return None
