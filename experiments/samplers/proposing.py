"""What our samplers share: a whole proposal a trial, from which each parameter is answered."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from experiments.samplers.known_cost import KnownCost
from experiments.samplers.optuna_names import fits
from experiments.samplers.parameters import Conditions, draw

Params = Mapping[str, Any]
Key = frozenset[tuple[str, Any]]


class ProposingSampler(BaseSampler):
    """An Optuna sampler that writes `propose` alone.

    A proposal need not be whole: a parameter that it lacks, as in a conditional space the
    parameters below a changed choice, is drawn at random.
    """

    def __init__(self, cost: KnownCost | None = None, *, seed: int | None = None) -> None:
        self.cost = cost or KnownCost()
        self.rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._proposals: dict[int, Params] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self._conditions: Conditions | None = None
        self._met: set[int] = set()  # numbers of the trials that were looked at
        self._values: set[tuple[str, Any]] = set()  # each value that each parameter ever had

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        """The next trial's parameters. `others` are all trials but that one."""
        raise NotImplementedError

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        if len(study.directions) > 1:
            raise ValueError(
                f"{type(self).__name__} is for studies of one objective, "
                f"but got {len(study.directions)}"
            )
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        with self._lock:
            self._proposals[trial.number] = self.propose(study, others)

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        with self._lock:
            proposal = self._proposals.get(trial.number, {})
            if param_name in proposal and fits(param_distribution, proposal[param_name]):
                return proposal[param_name]
            return draw(param_distribution, self.rng)

    def after_trial(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        state: TrialState,  # noqa: ARG002
        values: Sequence[float] | None,  # noqa: ARG002
    ) -> None:
        with self._lock:
            self._proposals.pop(trial.number, None)

    def reseed_rng(self) -> None:
        self.rng = np.random.default_rng()

    def learn(self, others: Sequence[FrozenTrial]) -> Conditions | None:
        """The space as far as trials show it; learnt again when one does not fit in."""
        whole = [t for t in others if t.params and t.state != TrialState.RUNNING]
        new = [t for t in whole if t.number not in self._met]
        known = self._conditions
        news = False
        for trial in new:
            self._met.add(trial.number)
            self._values.update(trial.params.items())
            news |= known is None or not known.explain(trial.params)
            for name, distribution in trial.distributions.items():
                if self._distributions.get(name) != distribution:
                    self._distributions[name] = distribution
                    news = True
        if news:
            known = Conditions.learn([t.params for t in whole], dict(self._distributions))
            self._conditions = known
        return known

    def allows(self, params: Params) -> bool:
        """Whether they may be proposed: within the limits, or a branch never entered.

        The parameters of an option that no trial has had are not known, so neither is its cost.
        """
        if self.cost.knows(params):
            return self.cost.allows(params)
        return self.enters(params)

    def enters(self, params: Params) -> bool:
        """Whether some value in them was in no trial."""
        return not params.items() <= self._values

    def underway(self, others: Sequence[FrozenTrial]) -> list[Params]:
        """The parameters of the trials that run; of one that has just begun, what it will be."""
        running = [t for t in others if t.state == TrialState.RUNNING]
        found = [{**self._proposals.get(t.number, {}), **t.params} for t in running]
        return [params for params in found if params]


def key_of(params: Params) -> Key:
    return frozenset(params.items())


def asked_for(others: Sequence[FrozenTrial], underway: Sequence[Params]) -> set[Key]:
    """Every setting that was ever asked for, whatever became of it."""
    return {key_of(t.params) for t in others} | {key_of(params) for params in underway}


def finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The complete ones, in the order in which they ended."""
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    return sorted(done, key=lambda t: (t.datetime_complete is not None, t.datetime_complete))
