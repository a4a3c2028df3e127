"""Candidates where the store is a database: of the only driver, or of one among several."""

import time
from collections import Counter, deque

from optuna.trial import FrozenTrial

from experiments.engine.candidates import Candidates, Later, SampledCandidates
from experiments.store.drivers import Claim, Drivers
from experiments.store.open_trial import OpenTrial
from experiments.store.store import Store
from experiments.store.trial import Candidate

PAUSE = 1.0  # seconds between two looks at what the other drivers still train


class SharedCandidates:
    """Hands out what `candidates` draws until `limit` trials of the study are claimed by anyone.

    Then it waits for the other drivers' last trials: one that is killed leaves its own to be
    trained here. So every driver ends with the same, whole study.
    """

    def __init__(
        self,
        candidates: SampledCandidates,
        *,
        drivers: Drivers,
        store: Store,
        study: str,
        limit: int,
    ) -> None:
        self._candidates = candidates
        self._drivers = drivers
        self._store = store
        self._study = study
        self._limit = limit
        self._looked = float("-inf")
        finished = store.ended_lately(study)
        self._known = {trial.number for trial in finished}
        drivers.ended(study, _suggestions(finished))
        self._inherited: deque[Candidate] = deque()
        self._taken = drivers.take_over(study)
        self._own = set(self._taken)

    @property
    def screened_by(self) -> Counter[str]:
        return self._candidates.screened_by

    def ours(self, left: OpenTrial) -> bool:
        """Only what a driver that is gone has left."""
        return left.candidate.suggestion in self._taken.values()

    def reopen(self, left: list[OpenTrial]) -> list[OpenTrial]:
        unopened = self._taken.keys() - {trial.candidate.architecture.key for trial in left}
        self._drivers.give_back(self._study, unopened)
        self._candidates.forget(unopened)
        return self._candidates.reopen(left)

    def next(self) -> Candidate | Later | None:
        if time.monotonic() - self._looked < PAUSE:
            return Later.LATER
        self._drivers.stay()
        self._learn()
        self._inherit()
        if self._inherited:
            return self._inherited.popleft()
        while (candidate := self._candidates.next()) is not None:
            key = candidate.architecture.key
            claim = self._drivers.claim(self._study, key, limit=self._limit)
            if not isinstance(claim, Claim):
                self._own.add(key)
                return self._candidates.renumber(candidate, claim)
            self._candidates.withdraw(candidate)
            if claim is Claim.FULL:
                self._candidates.forget([key])
                break
        self._looked = time.monotonic()
        return Later.LATER if self._drivers.running_elsewhere(self._study) else None

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        self._drivers.ended(self._study, {candidate.architecture.key: candidate.suggestion})
        self._candidates.tell(candidate, trial)

    def rest(self, candidate: Candidate, trial: FrozenTrial) -> None:
        self._candidates.rest(candidate, trial)

    def _learn(self) -> None:
        """What others have stored since we last looked."""
        trials = self._store.ended_lately(self._study)[len(self._known) :]
        self._known.update(trial.number for trial in trials)
        others = [trial for trial in trials if trial.user_attrs["key"] not in self._own]
        self._candidates.learn(others)
        self._drivers.ended(self._study, _suggestions(others))

    def _inherit(self) -> None:
        """What drivers that died have left."""
        self._taken = self._drivers.take_over(self._study)
        if self._taken:
            self._own.update(self._taken)
            left = [trial for trial in self._store.opened(self._study) if self.ours(trial)]
            self._inherited.extend(trial.candidate for trial in self.reopen(left))


class GuardedCandidates:
    """The candidates of a driver that is alone, and makes sure before each that it still is."""

    def __init__(self, candidates: Candidates, drivers: Drivers) -> None:
        self._candidates = candidates
        self._drivers = drivers

    @property
    def screened_by(self) -> Counter[str]:
        return self._candidates.screened_by

    def ours(self, left: OpenTrial) -> bool:
        return self._candidates.ours(left)

    def reopen(self, left: list[OpenTrial]) -> list[OpenTrial]:
        return self._candidates.reopen(left)

    def next(self) -> Candidate | Later | None:
        self._drivers.stay()
        return self._candidates.next()

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        self._candidates.tell(candidate, trial)

    def rest(self, candidate: Candidate, trial: FrozenTrial) -> None:
        self._candidates.rest(candidate, trial)


def _suggestions(trials: list[FrozenTrial]) -> dict[str, int]:
    """Network -> number of its suggestion."""
    return {
        trial.user_attrs["key"]: trial.user_attrs.get("suggestion", trial.number)
        for trial in trials
    }
