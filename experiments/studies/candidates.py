"""Where candidates come from: a sampler over a space, or a list."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from experiments.config import SearchSection
from experiments.studies.objective import reward
from experiments.studies.samplers import make_sampler
from experiments.studies.trial import Candidate, Known, identity, identity_of
from scaler.cost import Cost, measure_cost
from search_spaces.records import InputError
from search_spaces.space import SearchSpace

MOST_DRAWS = 2_000  # of one suggestion; past it the space holds nothing new within the limits


def reward_factor(cost: Cost, section: SearchSection) -> float:
    """(FLOPS/T)^w, what a network's accuracy is multiplied with."""
    return reward(1.0, cost.flops, target=section.target_flops, exponent=section.exponent)


class Candidates(Protocol):
    screened: int  # candidates thrown back before any training

    def next(self) -> Candidate | None:
        """The next candidate, or None when there is none left."""

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        """What came of a candidate."""


class ListedCandidates:
    """A fixed list, each once."""

    screened = 0

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._left: Iterator[Candidate] = iter(candidates)

    def next(self) -> Candidate | None:
        return next(self._left, None)

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        pass


class SampledCandidates:
    """An Optuna sampler's suggestions, costed before any training.

    A suggestion outside the FLOPs window, or a network already tried (equal network, not equal
    parameters; with another training it is another), is thrown back and another drawn. `enqueued`
    parameters come first; `told` results the sampler knows, and draws none of them again.

    The sampler's study is in memory and repeats the stored one; what was thrown back stands in it
    as failed, which samplers leave out, so that it biases nothing.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        section: SearchSection,
        seed: int,
        finished: list[FrozenTrial],
        num_classes: int,
        in_channels: int,
        enqueued: Sequence[Known] = (),
        told: Sequence[FrozenTrial] = (),
    ) -> None:
        self.screened = 0
        self._space = space
        self._section = section
        self._seed = seed
        self._sizes = {"num_classes": num_classes, "in_channels": in_channels}
        self._handed_out = len(finished)
        self._seen = {identity_of(trial) for trial in [*told, *finished]}
        # A continued run draws on where the stored trials end, not from the start again.
        self._study = optuna.create_study(
            direction="maximize", sampler=make_sampler(section.sampler, seed=seed + len(finished))
        )
        self._study.add_trials([*told, *finished])
        tried = {trial.user_attrs.get("origin") for trial in finished}
        for known in enqueued:
            if known.origin not in tried:
                self._study.enqueue_trial(known.params, user_attrs={"origin": known.origin})
        self._open: dict[int, optuna.Trial] = {}

    def next(self) -> Candidate | None:
        for _ in range(MOST_DRAWS):
            trial = self._study.ask()
            candidate = self._candidate(trial)
            if candidate is not None:
                self._open[candidate.suggestion] = trial
                return candidate
            self._study.tell(trial, state=TrialState.FAIL)
            self.screened += 1
        return None

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        asked = self._open.pop(candidate.suggestion)
        for step, reached in trial.intermediate_values.items():
            asked.report(reached, step)
        value = trial.value if trial.state == TrialState.COMPLETE else None
        self._study.tell(asked, value, state=trial.state)

    def _candidate(self, trial: optuna.Trial) -> Candidate | None:
        try:
            architecture = self._space.suggest(trial)
            training = self._space.suggest_training(trial)
        except InputError:  # parts that do not fit together, as a stride too many
            return None
        cost = measure_cost(architecture, **self._sizes)
        section = self._section
        if not section.min_flops <= cost.flops <= section.max_flops:
            return None
        name = identity(architecture.key, training)
        if name in self._seen:
            return None
        self._seen.add(name)
        suggestion = self._handed_out
        self._handed_out += 1
        return Candidate(
            architecture=architecture,
            cost=cost,
            seed=self._seed + suggestion,
            suggestion=suggestion,
            reward_factor=reward_factor(cost, section),
            attributes=trial.user_attrs,  # its origin, if it was enqueued
            params=trial.params,
            distributions=trial.distributions,
            training=training,
        )
