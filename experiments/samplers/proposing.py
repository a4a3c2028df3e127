"""The base of our samplers: one proposal for a trial, which gives each parameter its value."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from experiments.samplers.known_cost import KnownCost
from experiments.samplers.optuna_names import holds
from experiments.samplers.parameters import ParameterConditions, draw_value
from experiments.samplers.told import THROWN_BACK

Params = Mapping[str, Any]
Key = frozenset[tuple[str, Any]]


@dataclass
class _Learnt:
    """Knowledge of the space from its trials: a function of the trials, not of their times."""

    met: set[int] = field(default_factory=set)  # numbers of the trials that were read
    values: set[tuple[str, Any]] = field(default_factory=set)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    conditions: ParameterConditions | None = None

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        """Learn from `trials`, all so far; those read before are skipped."""
        news = False
        for trial in trials:
            if trial.number in self.met:
                continue
            self.met.add(trial.number)
            # A new value may be a new key of a rule, even if the rule predicted it by chance.
            news |= self.conditions is None or not trial.params.items() <= self.values
            news |= self.conditions is None or not self.conditions.explain(trial.params)
            self.values.update(trial.params.items())
            for name, distribution in trial.distributions.items():
                news |= self.distributions.get(name) != distribution
                self.distributions[name] = distribution
        if news:
            asked = [trial.params for trial in trials]
            self.conditions = ParameterConditions.learn(asked, dict(self.distributions))

    def copy(self) -> "_Learnt":
        """A copy that learns independently."""
        return _Learnt(set(self.met), set(self.values), dict(self.distributions), self.conditions)


class ProposingSampler(BaseSampler):
    """An Optuna sampler whose subclasses write only `propose`.

    A proposal may be incomplete: a missing parameter, such as those below a changed choice in a
    conditional space, gets a random value.
    """

    def __init__(self, cost: KnownCost | None = None, *, seed: int | None = None) -> None:
        self.cost = cost or KnownCost()
        self.rng = np.random.default_rng(seed)
        self.proposed_by = ""  # the origin of the latest proposal; "" for the sampler
        self._lock = threading.Lock()
        self._proposals: dict[int, Params] = {}
        self._learnt = _Learnt()
        self._values: set[tuple[str, Any]] = set()  # each value that each parameter ever had

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        """The next trial's parameters. `others` are all trials except that one."""
        raise NotImplementedError

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's proposal. Raises ValueError for a study of several objectives.

        Optuna has already stored the trial as running. If an error is raised here, the trial is
        ended first: otherwise it would run for ever, and parallel workers would learn from it.
        """
        try:
            if len(study.directions) > 1:
                raise ValueError(
                    f"{type(self).__name__} is for studies of one objective, "
                    f"but got {len(study.directions)}"
                )
            with self._lock:  # also while reading: two workers may begin at the same time
                others = counted(study, trial.number)
                self._proposals[trial.number] = self.propose(study, others)
        except BaseException:
            study.tell(trial.number, state=TrialState.FAIL)
            raise

    def __getstate__(self) -> dict[str, Any]:
        """Everything except the lock, which can be neither pickled nor copied."""
        with self._lock:
            return {name: part for name, part in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """None: `before_trial` has proposed all parameters together."""
        return {}

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """None, as there is no relative search space."""
        return {}

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The proposal's value; a random one if it has none or one that does not fit."""
        with self._lock:
            proposal = self._proposals.get(trial.number, {})
            if param_name in proposal and holds(param_distribution, proposal[param_name]):
                return proposal[param_name]
            return draw_value(param_distribution, self.rng)

    def after_trial(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        state: TrialState,  # noqa: ARG002
        values: Sequence[float] | None,  # noqa: ARG002
    ) -> None:
        """Forget the trial's proposal: its parameters are known now."""
        with self._lock:
            self._proposals.pop(trial.number, None)

    def reseed_rng(self) -> None:
        """Draw other random numbers than a copy of this sampler, as Optuna requires."""
        self.rng = np.random.default_rng()

    def learn(self, others: Sequence[FrozenTrial]) -> ParameterConditions | None:
        """The space as known from trials; learnt again if a trial does not fit."""
        # A running trial that has reported has all of its parameters.
        whole = [
            t
            for t in others
            if t.params and (t.state != TrialState.RUNNING or t.intermediate_values)
        ]
        thrown_back = [t for t in whole if THROWN_BACK in t.user_attrs]
        self._learnt.add([t for t in whole if THROWN_BACK not in t.user_attrs])
        learnt = self._learnt
        if thrown_back:  # known only for this suggestion
            learnt = learnt.copy()
            learnt.add(whole)
        self._values = learnt.values
        return learnt.conditions

    def allows(self, params: Params) -> bool:
        """Whether they may be proposed: within the limits, or in a branch without trials.

        The parameters of an option that no trial had are not known, and so its cost is not.
        """
        if self.cost.knows(params):
            return self.cost.allows(params)
        return self.enters(params)

    def enters(self, params: Params) -> bool:
        """Whether one of the values was in no trial."""
        return not params.items() <= self._values

    def opened(self, conditions: ParameterConditions) -> set[tuple[str, Any]]:
        """The values that open a branch and occurred only in rejected trials."""
        parents = {parent for parent, _ in conditions.parents.values()}
        new = self._values - self._learnt.values
        return {(name, value) for name, value in new if name in parents}

    def underway(self, others: Sequence[FrozenTrial]) -> list[Params]:
        """The parameters of running trials; for one that has just begun, its proposal."""
        running = [t for t in others if t.state == TrialState.RUNNING]
        found = [{**self._proposals.get(t.number, {}), **t.params} for t in running]
        return [params for params in found if params]


def counted(study: Study, number: int) -> list[FrozenTrial]:
    """All except trial `number` and those rejected before an earlier suggestion was found."""
    trials = study.get_trials(deepcopy=False)
    begun = [t for t in trials if t.number != number and t.state != TrialState.WAITING]
    last = max((t.number for t in begun if THROWN_BACK not in t.user_attrs), default=-1)
    return [t for t in begun if t.number > last or THROWN_BACK not in t.user_attrs]


def key_of(params: Params) -> Key:
    """Equal for equal parameters, in any order."""
    return frozenset(params.items())


def asked_for(others: Sequence[FrozenTrial], underway: Sequence[Params]) -> set[Key]:
    """Every setting that was ever suggested, with any outcome."""
    return {key_of(t.params) for t in others} | {key_of(params) for params in underway}


def finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The complete trials, in the order in which they ended."""
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    return sorted(done, key=lambda t: (t.datetime_complete is not None, t.datetime_complete))
