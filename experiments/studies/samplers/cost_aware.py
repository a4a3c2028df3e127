"""Search that knows the cost: only accuracy is learnt, the reward's other factor is computed.

A Gaussian process models the accuracy; together with the exact cost it gives each candidate's
reward with its uncertainty, and the candidate with the highest expected improvement over the best
*expected* (not the luckiest observed) reward comes next.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm

from experiments.studies.samplers.accuracy_model import AccuracyModel
from experiments.studies.samplers.conditions import Conditions
from experiments.studies.samplers.encoding import Encoding
from experiments.studies.samplers.known_cost import KnownCost
from experiments.studies.samplers.observations import Observations
from experiments.studies.samplers.proposing import (
    Key,
    Params,
    ProposingSampler,
    asked_for,
    key_of,
)
from experiments.studies.samplers.values import change

STARTUP = 5  # finished trials before the model
FRESH = 100  # new candidates a suggestion, half at random and half near the best
FIRST = 400  # new candidates of the first
POOL = 1_500  # candidates kept from one suggestion to the next
PARENTS = 10  # best networks whose neighbours are looked at
RANKED = 200  # next best candidates kept, for when the first is thrown back
REFIT = 1.1  # growth of the data after which the model's own settings are fitted again

Array = npt.NDArray[np.float64]


class CostAwareSampler(ProposingSampler):
    """For studies that maximise accuracy * (cost / target)^exponent; without a cost, any value.

    Works with any define-by-run space: it learns from the trials which parameters go together.
    """

    def __init__(self, cost: KnownCost, *, seed: int | None = None) -> None:
        super().__init__(cost, seed=seed)
        self._pool: dict[Key, Params] = {}
        self._ranked: list[Params] = []
        self._ranked_for: object = None
        self._theta: Array | None = None
        self._fitted_at = 0
        self._encoding: Encoding | None = None

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        conditions = self.learn(others)
        if conditions is None:
            return {}
        running = self.underway(others)
        asked = asked_for(others, running)
        told = [t for t in others if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        # A suggestion that was thrown back teaches nothing new: the next best follows.
        state = (len(told), {key_of(params) for params in running})
        if state != self._ranked_for:
            observed = Observations.of(told, self.cost, direction=study.direction)
            if len(observed.values) < STARTUP:
                return self._drawn(conditions, asked)
            costed = [params for params in running if self.cost.knows(params)]
            self._ranked = self._rank(observed, conditions, costed, asked)
            self._ranked_for = state
        while self._ranked:
            params = self._ranked.pop(0)
            if key_of(params) not in asked:
                return params
        self._ranked_for = None
        return self._drawn(conditions, asked)

    def _drawn(self, conditions: Conditions, asked: set[Key]) -> Params:
        """A random setting, new and allowed if one is found."""
        for _ in range(FRESH):
            params = conditions.complete({}, self.rng)
            if key_of(params) not in asked and self.allows(params):
                return params
        return params

    def _rank(
        self,
        observed: Observations,
        conditions: Conditions,
        running: Sequence[Params],
        asked: set[Key],
    ) -> list[Params]:
        """The candidates with the highest expected improvement, best first."""
        if self._encoding is None or not self._encoding.fits(conditions.distributions):
            self._encoding = Encoding.of(conditions.distributions, self.cost)
        count = len(observed.values)
        refit = self._theta is None or count >= max(self._fitted_at * REFIT, self._fitted_at + 1)
        model = AccuracyModel.fit(
            observed,
            self._encoding,
            running=running,
            start=self._theta,
            steps=(8 if self._theta is not None else 30) if refit else 0,
        )
        if refit:
            self._theta, self._fitted_at = model.process.theta, count
        reached, _ = model.rewards(observed.params, observed.factors)
        parents = [observed.params[i] for i in np.argsort(-reached)[:PARENTS]]
        branch = self._fill(conditions, parents, asked)
        candidates = list(self._pool.values())
        if not candidates:
            return branch
        factors = np.array([self.cost.factor(params) for params in candidates])
        mean, deviation = model.rewards(candidates, factors)
        away = (mean - reached.max()) / deviation
        improvement = deviation * (away * norm.cdf(away) + norm.pdf(away))
        order = np.argsort(-improvement, kind="stable")
        self._pool = {key_of(candidates[i]): candidates[i] for i in order[:POOL]}
        return branch + [candidates[i] for i in order[:RANKED]]

    def _fill(
        self, conditions: Conditions, parents: Sequence[Params], asked: set[Key]
    ) -> list[Params]:
        """New candidates into the pool, out of it what was asked for.

        Returns one that enters a branch of the space where no trial has been, if there is one: it
        has to be tried for its parameters, and so its cost, to be known.
        """
        branch: list[Params] = []
        for at in range(FRESH if self._pool else FIRST):
            wanted: dict[str, Any] = {}
            if at % 2:
                wanted = dict(parents[int(self.rng.integers(len(parents)))])
                for _ in range(int(self.rng.geometric(0.5))):
                    name = list(wanted)[int(self.rng.integers(len(wanted)))]
                    wanted[name] = change(conditions.distributions[name], wanted[name], self.rng)
            params = conditions.complete(wanted, self.rng)
            if self.cost.allows(params):
                self._pool[key_of(params)] = params
            elif self.allows(params) and key_of(params) not in asked:
                branch = [params]
        self._pool = {key: params for key, params in self._pool.items() if key not in asked}
        return branch
