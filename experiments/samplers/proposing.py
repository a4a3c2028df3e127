"""What our samplers share: a whole proposal a trial, from which each parameter is answered."""

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
    """What trials have shown of their space. A function of the trials, not of when they came."""

    met: set[int] = field(default_factory=set)  # numbers of the trials that were looked at
    values: set[tuple[str, Any]] = field(default_factory=set)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    conditions: ParameterConditions | None = None

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        """Learn from `trials`, which are all so far; those met before are known."""
        news = False
        for trial in trials:
            if trial.number in self.met:
                continue
            self.met.add(trial.number)
            # A new value may be a new key of a rule, also where the rule foretold it by chance.
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
        """One that learns on its own."""
        return _Learnt(set(self.met), set(self.values), dict(self.distributions), self.conditions)


class ProposingSampler(BaseSampler):
    """An Optuna sampler that writes `propose` alone.

    A proposal need not be whole: a parameter that it lacks, as in a conditional space the
    parameters below a changed choice, is drawn at random.
    """

    def __init__(self, cost: KnownCost | None = None, *, seed: int | None = None) -> None:
        self.cost = cost or KnownCost()
        self.rng = np.random.default_rng(seed)
        self.proposed_by = ""  # what made the latest proposal, or "": the sampler
        self._lock = threading.Lock()
        self._proposals: dict[int, Params] = {}
        self._learnt = _Learnt()
        self._values: set[tuple[str, Any]] = set()  # each value that each parameter ever had

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        """The next trial's parameters. `others` are all trials but that one."""
        raise NotImplementedError

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's proposal. Raises ValueError for a study of several objectives.

        Optuna has stored the trial by now, as running. Whatever is raised here, it is ended first:
        else it would run for ever, and parallel workers would be told of it.
        """
        try:
            if len(study.directions) > 1:
                raise ValueError(
                    f"{type(self).__name__} is for studies of one objective, "
                    f"but got {len(study.directions)}"
                )
            with self._lock:  # also over the look: two workers may begin at the same time
                others = counted(study, trial.number)
                self._proposals[trial.number] = self.propose(study, others)
        except BaseException:
            study.tell(trial.number, state=TrialState.FAIL)
            raise

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock, which can be neither pickled nor copied."""
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
        """The proposal's value; a random one where it has none or one that does not fit."""
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
        """Forget the trial's proposal: from now on its parameters say more."""
        with self._lock:
            self._proposals.pop(trial.number, None)

    def reseed_rng(self) -> None:
        """Draw other random numbers than a copy of this sampler does, as Optuna asks."""
        self.rng = np.random.default_rng()

    def learn(self, others: Sequence[FrozenTrial]) -> ParameterConditions | None:
        """The space as far as trials show it; learnt again when one does not fit in."""
        # A running trial that has reported has been asked for all of its parameters.
        whole = [
            t
            for t in others
            if t.params and (t.state != TrialState.RUNNING or t.intermediate_values)
        ]
        thrown_back = [t for t in whole if THROWN_BACK in t.user_attrs]
        self._learnt.add([t for t in whole if THROWN_BACK not in t.user_attrs])
        learnt = self._learnt
        if thrown_back:  # known for this one suggestion
            learnt = learnt.copy()
            learnt.add(whole)
        self._values = learnt.values
        return learnt.conditions

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

    def opened(self, conditions: ParameterConditions) -> set[tuple[str, Any]]:
        """The values that open a branch and that only trials had which were thrown back."""
        parents = {parent for parent, _ in conditions.parents.values()}
        new = self._values - self._learnt.values
        return {(name, value) for name, value in new if name in parents}

    def underway(self, others: Sequence[FrozenTrial]) -> list[Params]:
        """The parameters of the trials that run; of one that has just begun, what it will be."""
        running = [t for t in others if t.state == TrialState.RUNNING]
        found = [{**self._proposals.get(t.number, {}), **t.params} for t in running]
        return [params for params in found if params]


def counted(study: Study, number: int) -> list[FrozenTrial]:
    """All but trial `number`, and but those thrown back before an earlier suggestion was found."""
    trials = study.get_trials(deepcopy=False)
    begun = [t for t in trials if t.number != number and t.state != TrialState.WAITING]
    last = max((t.number for t in begun if THROWN_BACK not in t.user_attrs), default=-1)
    return [t for t in begun if t.number > last or THROWN_BACK not in t.user_attrs]


def key_of(params: Params) -> Key:
    """Equal for equal parameters, whatever their order."""
    return frozenset(params.items())


def asked_for(others: Sequence[FrozenTrial], underway: Sequence[Params]) -> set[Key]:
    """Every setting that was ever asked for, whatever became of it."""
    return {key_of(t.params) for t in others} | {key_of(params) for params in underway}


def finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The complete ones, in the order in which they ended."""
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    return sorted(done, key=lambda t: (t.datetime_complete is not None, t.datetime_complete))
