"""Where candidates come from: a sampler over a space, or a list."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from experiments.config import SearchSection
from experiments.studies.objective import reward
from experiments.studies.samplers import make_sampler
from experiments.studies.trial import Candidate
from scaler.cost import measure_cost
from search_spaces.records import InputError
from search_spaces.space import SearchSpace

MOST_DRAWS = 2_000  # of one suggestion; past it the space holds nothing new within the limits
PATIENCE = 50  # draws of the sampler; then random ones, as some propose the same again and again


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
    parameters), is thrown back and another drawn. The sampler's study is in memory and repeats the
    stored one; what was thrown back stands in it as failed, which samplers leave out, so that it
    biases nothing.
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
    ) -> None:
        self.screened = 0
        self._space = space
        self._section = section
        self._seed = seed
        self._orderly = section.sampler == "grid"  # random draws would leave gaps behind
        self._sizes = {"num_classes": num_classes, "in_channels": in_channels}
        self._handed_out = len(finished)
        self._seen = {trial.user_attrs["key"] for trial in finished}
        # A continued run draws on where the stored trials end, not from the start again.
        self._sampler = make_sampler(
            section.sampler,
            cost=self._flops,
            target=section.target_flops,
            exponent=section.exponent,
            limits=(section.min_flops, section.max_flops),
            seed=seed + len(finished),
        )
        self._random = optuna.samplers.RandomSampler(seed=seed + len(finished))
        self._study = optuna.create_study(direction="maximize", sampler=self._sampler)
        self._study.add_trials(finished)
        self._open: dict[int, optuna.Trial] = {}

    def next(self) -> Candidate | None:
        for draw in range(MOST_DRAWS):
            patient = draw < PATIENCE or self._orderly
            self._study.sampler = self._sampler if patient else self._random
            trial = self._study.ask()
            candidate = self._candidate(trial)
            if candidate is not None:
                self._study.sampler = self._sampler
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

    def _flops(self, params: dict[str, Any]) -> float:
        """What a sampler may know before a trial; InputError where the parts do not fit."""
        architecture = self._space.suggest(optuna.trial.FixedTrial(params))
        return measure_cost(architecture, **self._sizes).flops

    def _candidate(self, trial: optuna.Trial) -> Candidate | None:
        try:
            architecture = self._space.suggest(trial)
        except InputError:  # parts that do not fit together, as a stride too many
            return None
        cost = measure_cost(architecture, **self._sizes)
        section = self._section
        if not section.min_flops <= cost.flops <= section.max_flops:
            return None
        if architecture.key in self._seen:
            return None
        self._seen.add(architecture.key)
        suggestion = self._handed_out
        self._handed_out += 1
        factor = reward(1.0, cost.flops, target=section.target_flops, exponent=section.exponent)
        return Candidate(
            architecture=architecture,
            cost=cost,
            seed=self._seed + suggestion,
            suggestion=suggestion,
            reward_factor=factor,
            params=trial.params,
            distributions=trial.distributions,
        )
