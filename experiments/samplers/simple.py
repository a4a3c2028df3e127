"""Three simple strategies: regularized evolution, local search, and a grid."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from experiments.samplers.known_cost import KnownCost
from experiments.samplers.optuna_names import holds, stop
from experiments.samplers.parameters import change, grid, grid_place, neighbours
from experiments.samplers.proposing import (
    Params,
    ProposingSampler,
    asked_for,
    counted,
    finished,
    key_of,
)

TRIES = 100  # mutations tried until one is new and allowed


class RegularizedEvolutionSampler(ProposingSampler):
    """The best of a few drawn from the latest `population` has one parameter changed.

    The paper has 100 and 25; a search of a few hundred trials needs fewer.
    """

    def __init__(
        self, cost: KnownCost, *, seed: int | None = None, population: int = 20, sample: int = 5
    ) -> None:
        super().__init__(cost, seed=seed)
        self._population = population
        self._sample = sample

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        """A child of the best of a few living; random before `population` trials are done."""
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


STARTUP = 5  # random trials; the search starts from the best of them


class LocalSearchSampler(ProposingSampler):
    """One parameter of the best network so far is changed; each change once, in random order.

    When the best network's neighbours have all been tried, the next best network's follow.
    """

    def __init__(self, cost: KnownCost, *, seed: int | None = None) -> None:
        super().__init__(cost, seed=seed)

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        """An untried neighbour of the best; random before `STARTUP` trials are done."""
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


class _Path(NamedTuple):
    """The parameters of one trial so far, in order."""

    params: Params
    distributions: Mapping[str, BaseDistribution]
    ended: bool  # an ended trial gets no more parameters


class GridSampler(ProposingSampler):
    """Counts like an odometer: the last parameter changes first, and those after a change restart.

    It goes on after the latest trial, skips the settings of other trials, and begins again at the
    first setting. When trials of all settings have ended, `study.optimize` stops. Workers at the
    same time get different settings, except for the last ones: a running trial may still show
    further parameters, so whether more settings follow is not known, and another may repeat it.
    Ranges need steps.
    """

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        """The next setting, up to the last parameter that is known from trials."""
        paths = self._paths(others)
        following = _following(paths, {})
        if following is None and paths:
            stop(study)
        return following or {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """The proposal's value; beyond it, the first value that no worker has just taken."""
        values = grid(param_distribution, param_name)
        with self._lock:
            proposal = self._proposals.get(trial.number, {})
            followed = trial.params.items() <= proposal.items()  # else some were enqueued
            if not (followed and param_name in proposal):
                proposal = self._below(study, trial, param_name, param_distribution)
            value = proposal.get(param_name)
            value = value if holds(param_distribution, value) else values[0]
            self._proposals[trial.number] = {**proposal, **trial.params, param_name: value}
            return value

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Stop `study.optimize` if that was the last setting."""
        super().after_trial(study, trial, state, values)
        if trial.params:
            with self._lock:
                paths = self._paths(counted(study, trial.number))
            ended = _Path(trial.params, trial.distributions, ended=True)
            if _following([*paths, ended], {}) is None:
                stop(study)

    def _below(self, study: Study, trial: FrozenTrial, name: str, distribution: Any) -> Params:
        """The next setting for a trial that has its parameters so far and now needs `name`."""
        paths = [
            path._replace(distributions={**path.distributions, name: distribution})
            for path in self._paths(counted(study, trial.number))
            if trial.params.items() <= path.params.items() and name in path.params
        ]
        return _following(paths, trial.params) or {}

    def _paths(self, trials: Sequence[FrozenTrial]) -> list[_Path]:
        """The paths of trials that have parameters, or are about to get one."""
        proposed = [{**t.params, **self._proposals.get(t.number, {})} for t in trials]
        return [
            _Path({**params, **t.params}, t.distributions, ended=t.state.is_finished())
            for t, params in zip(trials, proposed, strict=True)
            if params
        ]


def _following(paths: Sequence[_Path], before: Params) -> Params | None:
    """The next setting after the latest path, then the first; None if there is none.

    All paths begin with `before`. A setting that a running trial may still get comes last.
    """
    latest = _position(paths[-1], before) if paths else ()
    first = unsure = None
    for position, params, sure in _open(paths, before):
        if sure and position > latest:
            return params
        if sure and first is None:
            first = params
        if not sure and unsure is None:
            unsure = params
    return unsure if first is None else first


def _position(path: _Path, before: Params) -> tuple[int, ...]:
    """The path's position in the order of all settings."""
    names = [name for name in path.params if name not in before and name in path.distributions]
    return tuple(grid_place(path.distributions[name], path.params[name]) for name in names)


def _open(paths: Sequence[_Path], before: Params) -> Iterator[tuple[tuple[int, ...], Params, bool]]:
    """Settings without a path, in order: position, parameters, and whether that is certain.

    All paths begin with `before`; the next parameter is known from the first path that has it.
    """
    asked = ((name, p) for p in paths for name in p.distributions if name not in before)
    name, known = next(asked, (None, None))
    if name is None or known is None:
        if not any(path.ended for path in paths):
            yield (), before, not paths
        return
    distribution = known.distributions[name]
    through: dict[int, list[_Path]] = {}
    for path in paths:
        if name in path.params:
            through.setdefault(grid_place(distribution, path.params[name]), []).append(path)
    for at, value in enumerate(grid(distribution, name)):
        for position, params, sure in _open(through.get(at, []), {**before, name: value}):
            yield (at, *position), params, sure
