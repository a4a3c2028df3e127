"""Search with known cost: only accuracy is learnt, the reward's other factor is computed.

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
from optuna.trial import FrozenTrial
from scipy.stats import norm

from experiments.samplers.accuracy_model import AccuracyModel, Learner
from experiments.samplers.known_cost import Key, KnownCost
from experiments.samplers.observations import Observations, informative
from experiments.samplers.parameters import ParameterConditions, change, neighbours
from experiments.samplers.proposing import Params, ProposingSampler

BLOCK = 30  # random candidates of each suggestion, beside others near the best
BLOCKS = 20  # the latest blocks are candidates, so that random ones are costed only once
CLIMB = 200  # further candidates a suggestion, neighbours of the most promising ones
PROMISING = 4  # so many of the best must have all neighbours tried before a climb ends
PARENTS = 10  # best networks whose neighbours are candidates
RANKED = 200  # next best candidates, kept for the case that the first is rejected
# The model is too sure, and can stay with variants of one network. So every third suggestion
# multiplies its deviations by four; tuned on `dead` of `made_up`.
DOUBT, DOUBTED = 4.0, 3
DRAWS = 60  # random settings tried until one is new and allowed

Array = npt.NDArray[np.float64]


class CostAwareSampler(ProposingSampler):
    """For studies that maximise accuracy * (cost / target)^exponent; without a cost, any value.

    Works with any define-by-run space: it learns from the trials which parameters go together.

    A proposal is a function of the seed and the study's trials alone (and, if `network` gives
    descriptions, of their values so far). What the sampler keeps between suggestions only saves
    time: another sampler computes the same from the same trials.
    """

    def __init__(self, cost: KnownCost, *, seed: int | None = None) -> None:
        super().__init__(cost, seed=seed)
        self._entropy = int(np.random.SeedSequence(seed).generate_state(1)[0])  # of the blocks
        self._blocks: dict[int, list[Params]] = {}
        self._blocks_of: ParameterConditions | None = None
        self.learner = Learner(self.cost)
        self._ranked: list[Params] = []
        self._ranked_for: object = None

    def propose(self, study: Study, others: Sequence[FrozenTrial]) -> Params:
        """The best of the ranked candidates that is new; a random one before there is a model."""
        conditions = self.learn(others)
        self.proposed_by = "random"
        if conditions is None:
            return {}
        told = self.learner.read(others)
        asked = {one.facts.key for one in told}
        asked |= {self.cost.key(params) for params in self.underway(others)}
        begun = [one for one in told if not one.thrown_back]
        # A rejected suggestion adds no data, so the next best follows, unless the rejected one was
        # the first of a branch.
        opened = self.opened(conditions)
        state = [one.state for one in begun], [len(one.curve) for one in begun], opened
        if state != self._ranked_for:
            record = self.learner.record(begun)
            observed = self.learner.observe(study, record)
            if observed is None:
                return self._drawn(conditions, asked)
            model = self.learner.model(
                study,
                record,
                observed,
                distributions=conditions.distributions,
                running=self._silent([one.trial for one in begun if not one.state.is_finished()]),
            )
            seen = informative(observed)  # the model's observations: this bounds the time
            self._ranked = self._rank(model, seen, conditions, asked, len(begun))
            self._ranked_for = state
        self.proposed_by = "model"
        while self._ranked:
            params = self._ranked.pop(0)
            if self.cost.key(params) not in asked:
                return params
        return self._drawn(conditions, asked)

    def _silent(self, begun: Sequence[FrozenTrial]) -> list[Params]:
        """Running trials of known cost that have not reported yet."""
        silent = [t for t in begun if not t.intermediate_values]
        return [params for params in self.underway(silent) if self.cost.knows(params)]

    def _drawn(self, conditions: ParameterConditions, asked: set[Key]) -> Params:
        """A random setting, new and allowed if one is found."""
        for _ in range(DRAWS):
            params = conditions.complete({}, self.rng)
            if self.cost.key(params) not in asked and self.allows(params):
                return params
        return params

    def _rank(
        self,
        model: AccuracyModel,
        observed: Observations,
        conditions: ParameterConditions,
        asked: set[Key],
        number: int,
    ) -> list[Params]:
        """The candidates with the highest expected improvement, best first.

        If a branch of the space has no trial yet, a candidate that enters it comes first: only a
        trial shows its parameters, and so its cost. If such a trial was rejected, they are known,
        and an allowed candidate of that branch comes first.
        """
        reached, _ = model.rewards(observed.params, observed.factors)
        # Limits may change between suggestions: a network outside of them now does not compete.
        inside = np.array([self.cost.allows(params) for params in observed.params])
        reached = np.where(inside, reached, -np.inf) if inside.any() else reached
        parents = [observed.params[i] for i in np.argsort(-reached)[:PARENTS]]
        near = [self._changed(parents, conditions) for _ in range(BLOCK)]
        around = [p for parent in parents for p in self._neighbours(parent, conditions)]
        drawn = [*self._random(conditions, number), *near, *around]
        branch = [params for params in drawn if self.enters(params) and not self.cost.knows(params)]
        branch = [params for params in branch if self.cost.key(params) not in asked][-1:]
        opened = self.opened(conditions)
        entering = (p for p in drawn if opened & p.items() and self.cost.allows(p))
        branch += next(([p] for p in entering if self.cost.key(p) not in asked), [])
        pool: dict[Key, Params] = {}
        promise: dict[Key, float] = {}
        doubt = DOUBT if number % DOUBTED == DOUBTED - 1 else 1.0
        goal = float(reached.max()), doubt
        self._add(drawn, model, asked, pool, promise, goal)
        self._climb(model, conditions, asked, pool, promise, goal)
        order = heapq.nlargest(RANKED, promise, key=promise.__getitem__)
        return branch + [pool[key] for key in order]

    def _climb(
        self,
        model: AccuracyModel,
        conditions: ParameterConditions,
        asked: set[Key],
        pool: dict[Key, Params],
        promise: dict[Key, float],
        goal: tuple[float, float],
    ) -> None:
        """Add the neighbours of the most promising candidates, until no neighbour is better.

        A random pool is a small part of a large space, and seldom has the most promising network.
        """
        most, climbed = len(pool) + CLIMB, set[Key]()
        while len(pool) < most:
            top = heapq.nlargest(PROMISING, promise, key=promise.__getitem__)
            unseen = [key for key in top if key not in climbed]
            if not unseen:
                return
            climbed.update(unseen)
            near = [p for key in unseen for p in self._neighbours(pool[key], conditions)]
            self._add(near, model, asked, pool, promise, goal)

    def _add(
        self,
        candidates: Sequence[Params],
        model: AccuracyModel,
        asked: set[Key],
        pool: dict[Key, Params],
        promise: dict[Key, float],
        goal: tuple[float, float],
    ) -> None:
        """Put new and allowed networks into the pool, with the expected improvement of each.

        `goal` is the best expected reward, and the factor of the deviations.
        """
        new: dict[Key, Params] = {}
        factors: list[float] = []
        for params in candidates:
            facts = self.cost.facts(params)
            key = facts.key
            if key not in asked and key not in pool and key not in new and facts.allowed:
                new[key] = params
                factors.append(facts.factor)
        if not new:
            return
        pool |= new
        mean, deviation = model.rewards(list(new.values()), np.array(factors))
        best, doubt = goal
        deviation = doubt * deviation
        away = (mean - best) / deviation
        improvement = deviation * (away * norm.cdf(away) + norm.pdf(away))
        promise |= zip(new, improvement.tolist(), strict=True)

    def _random(self, conditions: ParameterConditions, number: int) -> list[Params]:
        """The latest blocks of random candidates; those of a suggestion depend on its number."""
        if self._blocks_of is not conditions:
            self._blocks, self._blocks_of = {}, conditions
        latest = range(number, number + BLOCKS)
        self._blocks = {at: block for at, block in self._blocks.items() if at in latest}
        for at in latest:
            if at not in self._blocks:
                rng = np.random.default_rng((self._entropy, at))
                self._blocks[at] = [conditions.complete({}, rng) for _ in range(BLOCK)]
        return [params for at in latest for params in self._blocks[at]]

    def _neighbours(self, params: Params, conditions: ParameterConditions) -> list[Params]:
        """All settings that differ in one parameter, and in those that depend on it."""
        return [
            conditions.complete({**params, name: value}, self.rng)
            for name, distribution in conditions.distributions.items()
            if name in params
            for value in neighbours(distribution, params[name], self.rng)
        ]

    def _changed(self, parents: Sequence[Params], conditions: ParameterConditions) -> Params:
        """One of `parents` with parameters changed: one, or each further one half as often."""
        wanted: dict[str, Any] = dict(parents[int(self.rng.integers(len(parents)))])
        for _ in range(int(self.rng.geometric(0.5))):
            name = list(wanted)[int(self.rng.integers(len(wanted)))]
            wanted[name] = change(conditions.distributions[name], wanted[name], self.rng)
        return conditions.complete(wanted, self.rng)
