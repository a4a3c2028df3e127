"""Where candidates come from: a list here, a sampler over a space in `sampled`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from optuna.trial import FrozenTrial

from experiments.store.trial import Candidate, Trial
from scaler.cost import Cost


class Candidates(Protocol):
    """Where a study takes its candidates from, and what it tells of them."""

    @property
    def screened_by(self) -> Counter[str]:
        """Candidates thrown back before any training, by the reason (see progress.SCREENED)."""

    def largest(self) -> Cost | None:
        """Of the network with the most activations, or about so; None where there is no network."""

    def next(self) -> Candidate | None:
        """The next candidate, or None when there is none left."""

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        """What came of a candidate."""

    def report(self, trial: Trial) -> None:
        """How far a trial that runs has come."""

    def chances(self) -> Mapping[int, float]:
        """How probable each trial that has not ended is the best, by suggestion; or nothing."""

    def rest(self, candidate: Candidate, trial: FrozenTrial) -> None:
        """What is known of a candidate that rests; `tell` may follow, if it is promoted."""

    def reopen(self, left: list[Trial]) -> list[Trial]:
        """Those of the trials left open by an earlier driver that are still wanted.

        They are not handed out again by `next`.
        """


class ListedCandidates:
    """A fixed list, each once."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.screened_by: Counter[str] = Counter()
        listed = list(candidates)
        self._costs = [candidate.cost for candidate in listed]
        self._left: Iterator[Candidate] = iter(listed)

    def largest(self) -> Cost | None:
        """Of the list as it was at the start."""
        return max(self._costs, key=lambda cost: cost.activations, default=None)

    def next(self) -> Candidate | None:
        """The next of the list."""
        return next(self._left, None)

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        """Nothing: a list does not depend on what came of its trials."""

    def report(self, trial: Trial) -> None:
        """Nothing, as for `tell`."""

    def chances(self) -> Mapping[int, float]:
        """Nothing: no model is made of a list."""
        return {}

    def rest(self, candidate: Candidate, trial: FrozenTrial) -> None:
        """Nothing, as for `tell`."""

    def reopen(self, left: list[Trial]) -> list[Trial]:
        """Those that are in the list still, and cost and train as they did."""
        listed = list(self._left)
        names = {Trial(candidate).name: candidate for candidate in listed}
        wanted = []
        for trial in left:
            candidate = names.get(trial.name)
            if candidate is not None and _same(candidate, trial.candidate):
                wanted.append(trial)
                listed.remove(candidate)
        self._left = iter(listed)
        return wanted


def _same(listed: Candidate, left: Candidate) -> bool:
    return (
        listed.architecture.key == left.architecture.key
        and listed.seed == left.seed
        and listed.suggestion == left.suggestion
    )
