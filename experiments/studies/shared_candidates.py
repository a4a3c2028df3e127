"""Candidates where the store is a database: of the only driver, or of one among several."""

import time

from optuna.trial import FrozenTrial

from experiments.studies.candidates import Candidates, Later, SampledCandidates
from experiments.studies.drivers import Claim, Drivers
from experiments.studies.store import Store
from experiments.studies.trial import Candidate

PAUSE = 1.0  # seconds between two looks at what the other drivers still train


class SharedCandidates:
    """Hands out what `candidates` draws until `limit` trials of the study are claimed by anyone.

    Then it waits for the other drivers' last trials, since one that is killed leaves its own to be
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
        self._known = {trial.number for trial in store.trials(study)}
        self._own: set[str] = set()
        self._looked = 0.0
        drivers.ended(study, (trial.user_attrs["key"] for trial in store.trials(study)))

    @property
    def screened(self) -> int:
        return self._candidates.screened

    def next(self) -> Candidate | Later | None:
        if time.monotonic() - self._looked < PAUSE:
            return Later.LATER
        self._drivers.stay()
        self._learn()
        while (candidate := self._candidates.next()) is not None:
            key = candidate.architecture.key
            claim = self._drivers.claim(self._study, key, limit=self._limit)
            if claim is Claim.OURS:
                self._own.add(key)
                return candidate
            self._candidates.withdraw(candidate)
            if claim is Claim.FULL:
                self._candidates.forget([key])
                break
        self._looked = time.monotonic()
        others = self._drivers.others(self._study)
        self._candidates.forget(others.given_back)
        return Later.LATER if others.running or others.given_back else None

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        self._drivers.ended(self._study, [candidate.architecture.key])
        self._candidates.tell(candidate, trial)

    def _learn(self) -> None:
        """What others have stored since we last looked."""
        trials = self._store.trials(self._study)
        fresh = [trial for trial in trials if trial.number not in self._known]
        self._known.update(trial.number for trial in fresh)
        others = [trial for trial in fresh if trial.user_attrs["key"] not in self._own]
        self._candidates.learn(others)
        self._drivers.ended(self._study, (trial.user_attrs["key"] for trial in others))


class GuardedCandidates:
    """The candidates of a driver that is alone, and makes sure before each that it still is."""

    def __init__(self, candidates: Candidates, drivers: Drivers) -> None:
        self._candidates = candidates
        self._drivers = drivers

    @property
    def screened(self) -> int:
        return self._candidates.screened

    def next(self) -> Candidate | Later | None:
        self._drivers.stay()
        return self._candidates.next()

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        self._candidates.tell(candidate, trial)
