"""Search that knows the cost: only accuracy is learnt, the reward's other factor is computed.

A Gaussian process models the accuracy; together with the exact cost it gives each candidate's
reward with its uncertainty, and the candidate with the highest expected improvement over the best
*expected* (not the luckiest observed) reward comes next.
"""

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm

from experiments.samplers.accuracy_model import AccuracyModel, Observations
from experiments.samplers.encoding import Encoding
from experiments.samplers.known_cost import Key, KnownCost
from experiments.samplers.parameters import Conditions, change, neighbours
from experiments.samplers.proposing import Params, ProposingSampler

STARTUP = 5  # finished trials before the model
FRESH = 60  # new candidates a suggestion, half at random and half near the best
FIRST = 400  # new candidates of the first
CLIMB = 200  # further candidates a suggestion, neighbours of the most promising ones
PROMISING = 4  # whose neighbours have all been looked at before a climb ends
POOL = 1_500  # candidates kept from one suggestion to the next
PARENTS = 10  # best networks whose neighbours are looked at
RANKED = 200  # next best candidates kept, for when the first is thrown back
REFIT = 1.1  # growth of the data after which the model's own settings are fitted again

Array = npt.NDArray[np.float64]


class CostAwareSampler(ProposingSampler):
    """For studies that maximise accuracy * (cost / target)^exponent; without a cost, any value.

    Works with any define-by-run space: it learns from the trials which parameters go together.
    """

    remembers = True  # candidates, and the model's settings, from one suggestion to the next

    def __init__(self, cost: KnownCost, *, seed: int | None = None) -> None:
        super().__init__(cost, seed=seed)
        self._pool: dict[Key, Params] = {}
        self._ranked: list[Params] = []
        self._ranked_for: object = None
        self._theta: Array | None = None
        self._fitted_at = 0
        self._encoding: Encoding | None = None
        self._climbed: set[Key] = set()  # candidates whose neighbours are in the pool

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        conditions = self.learn(others)
        if conditions is None:
            return {}
        running = self.underway(others)
        asked = {self.cost.key(params) for params in (*(t.params for t in others), *running)}
        told = [t for t in others if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        # A suggestion that was thrown back teaches nothing new: the next best follows.
        state = (len(told), {self.cost.key(params) for params in running})
        if state != self._ranked_for:
            observed = Observations.of(told, self.cost, direction=study.direction)
            if len(observed.values) < STARTUP:
                return self._drawn(conditions, asked)
            costed = [params for params in running if self.cost.knows(params)]
            self._ranked = self._rank(observed, conditions, costed, asked)
            self._ranked_for = state
        while self._ranked:
            params = self._ranked.pop(0)
            if self.cost.key(params) not in asked:
                return params
        self._ranked_for = None
        return self._drawn(conditions, asked)

    def _drawn(self, conditions: Conditions, asked: set[Key]) -> Params:
        """A random setting, new and allowed if one is found."""
        for _ in range(FRESH):
            params = conditions.complete({}, self.rng)
            if self.cost.key(params) not in asked and self.allows(params):
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
        self._pool = {key: params for key, params in self._pool.items() if key not in asked}
        branch = self._fill(conditions, parents, asked)
        promise = self._promise(model, list(self._pool), float(reached.max()))
        self._climb(model, conditions, promise, asked, float(reached.max()))
        order = sorted(promise, key=promise.__getitem__, reverse=True)
        self._pool = {key: self._pool[key] for key in order[:POOL]}
        return branch + [self._pool[key] for key in order[:RANKED]]

    def _climb(
        self,
        model: AccuracyModel,
        conditions: Conditions,
        promise: dict[Key, float],
        asked: set[Key],
        best: float,
    ) -> None:
        """Add the neighbours of the most promising, until none of them is more so.

        A pool drawn at random holds little of a large space, and seldom its most promising network.
        """
        most = len(self._pool) + CLIMB
        while len(self._pool) < most:
            top = heapq.nlargest(PROMISING, promise, key=promise.__getitem__)
            unseen = [key for key in top if key not in self._climbed]
            if not unseen:
                return
            known = len(self._pool)
            for key in unseen:
                self._climbed.add(key)
                params = self._pool[key]
                for name, distribution in conditions.distributions.items():
                    if name in params:
                        for value in neighbours(distribution, params[name], self.rng):
                            near = conditions.complete({**params, name: value}, self.rng)
                            self._add(near, asked)
            promise |= self._promise(model, list(self._pool)[known:], best)

    def _promise(self, model: AccuracyModel, keys: Sequence[Key], best: float) -> dict[Key, float]:
        """The expected improvement of each candidate in the pool over the best expected reward."""
        if not keys:
            return {}
        candidates = [self._pool[key] for key in keys]
        factors = np.array([self.cost.factor(params) for params in candidates])
        mean, deviation = model.rewards(candidates, factors)
        away = (mean - best) / deviation
        improvement = deviation * (away * norm.cdf(away) + norm.pdf(away))
        return dict(zip(keys, improvement.tolist(), strict=True))

    def _fill(
        self, conditions: Conditions, parents: Sequence[Params], asked: set[Key]
    ) -> list[Params]:
        """New candidates into the pool.

        Returns one that enters a branch of the space where no trial has been, if there is one: it
        has to be tried for its parameters, and so its cost, to be known.
        """
        branch: list[Params] = []
        for at in range(FRESH if self._pool else FIRST):
            entering = (
                self._near(parents, conditions, asked)
                if at % 2
                else self._add(conditions.complete({}, self.rng), asked)
            )
            branch = entering or branch
        return branch

    def _near(
        self, parents: Sequence[Params], conditions: Conditions, asked: set[Key]
    ) -> list[Params]:
        """One of `parents` into the pool, with one parameter changed or, half as often each, more.

        Returns what `_add` returns.
        """
        wanted: dict[str, Any] = dict(parents[int(self.rng.integers(len(parents)))])
        for _ in range(int(self.rng.geometric(0.5))):
            name = list(wanted)[int(self.rng.integers(len(wanted)))]
            wanted[name] = change(conditions.distributions[name], wanted[name], self.rng)
        return self._add(conditions.complete(wanted, self.rng), asked)

    def _add(self, params: Params, asked: set[Key]) -> list[Params]:
        """Into the pool if it is allowed and new; else returned if it enters an unknown branch."""
        key = self.cost.key(params)
        if key in asked:
            return []
        if self.cost.allows(params):
            self._pool.setdefault(key, params)
            return []
        return [params] if self.allows(params) else []
