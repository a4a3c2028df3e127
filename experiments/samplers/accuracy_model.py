"""Accuracy learnt from trials, the cost known: what reward is to be expected of a network.

Symbols and shapes, here and in `observations`, `gaussian_process`, `encoding`, `cost_aware`:

| symbol | shape | name in the code | what it is |
|---|---|---|---|
| N | | | observations: trials that have told anything, finished or not; at most `MOST` |
| M | | | networks whose reward is asked for |
| D | | | parameters of the space, and the logarithm of the cost as one more |
| C | | | columns: each parameter has several, see `Encoding` |
| X | (N, C) | `columns` | the observed networks, encoded |
| g | (C,) | `groups` | the parameter, 0 to D - 1, that a column belongs to |
| y | (N,) | `values` | log(a / (1 - a)) of the accuracy a; a itself where some a is not in [0, 1] |
| e | (N,) | `extra_noise` | variance of y, where it is foretold from a curve that has not ended |
| f | (N,) or (M,) | `factors` | (cost / target)^exponent, known exactly; reward = a * f |
| theta | (3 + D,) | `theta` | logarithms of the two amplitudes, the noise, and D weights |
| K | (N, N) | `covariance` | of y under theta; `root` (N, N) is its Cholesky factor |
| m, s | (M,) | `mean`, `deviation` | what the process says of y at the M networks |

The reward's mean and standard deviation, both (M,), are those of sigmoid(m + s z) * f, z normal.
The sigmoid is not linear, so a Gauss-Hermite sum over `_NODES` takes the place of the integral.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from scipy.stats import norm

from experiments.samplers.encoding import Encoding
from experiments.samplers.gaussian_process import GaussianProcess
from experiments.samplers.known_cost import KnownCost
from experiments.samplers.observations import Observations, informative, scaled
from experiments.samplers.told import History, Reader, Told

Array = npt.NDArray[np.float64]

STARTUP = 5  # trials, whatever became of them, before the model
FEWEST = 3  # of them have told something
REFIT = 1.1  # growth of the trials after which the model's own settings are fitted again
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(6)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class AccuracyModel:
    """A Gaussian process of the accuracies, and how it sees parameters."""

    encoding: Encoding
    process: GaussianProcess
    logistic: bool

    @classmethod
    def fit(
        cls,
        observed: Observations,
        encoding: Encoding,
        *,
        running: Sequence[Mapping[str, Any]] = (),
        start: Array | None = None,
        steps: int = 30,
        believe_low: bool = False,
    ) -> "AccuracyModel":
        """The model of what was observed, or of the `MOST` observations that say most.

        Each running network counts as if it had shown what the model expects of it: nothing is
        learnt of its neighbourhood, but there is less left to learn there. `believe_low` as
        `GaussianProcess.fit`'s.
        """
        observed = informative(observed)
        columns = np.array([encoding.encode(params) for params in observed.params])
        values, extra = observed.values, observed.extra_noise
        groups = encoding.groups
        process = GaussianProcess.fit(
            columns,
            values,
            groups=groups,
            extra_noise=extra,
            start=start,
            steps=steps,
            believe_low=believe_low,
        )
        if running:
            asked = np.array([encoding.encode(params) for params in running])
            process = GaussianProcess.fit(
                np.vstack([columns, asked]),
                np.concatenate([values, process.predict(asked)[0]]),
                groups=groups,
                extra_noise=np.concatenate([extra, np.zeros(len(asked))]),
                start=process.theta,
                steps=0,
            )
        return cls(encoding, process, observed.logistic)

    def chances(self, observed: Observations, among: Sequence[npt.NDArray[np.bool_]]) -> Array:
        """How probable it is that each, some of what this was fitted to, is better than the rest.

        Judged by the reward without noise, against the highest that is expected of another. `among`
        are groups (N,) with a best each, as of a budget: the highest chance of all that it is in.
        """
        mean, deviation = self._predict(observed.params)
        expected, _ = self._rewards(mean, deviation, observed.factors)
        chances = np.zeros(len(expected))
        for group in among:
            inside = np.where(group, expected, -np.inf)
            first, second = np.argsort(-inside, kind="stable")[:2] if len(inside) > 1 else (0, 0)
            best = np.full(len(expected), inside[first])
            best[first] = inside[second] if len(inside) > 1 else -np.inf
            needed = scaled(best / observed.factors, logistic=self.logistic)
            own = norm.sf((needed - mean) / deviation)
            chances = np.where(group, np.maximum(chances, own), chances)
        return chances

    def rewards(self, params: Sequence[Mapping[str, Any]], factors: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free reward of each network."""
        return self._rewards(*self._predict(params), factors)

    def _predict(self, params: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:
        return self.process.predict(np.array([self.encoding.encode(p) for p in params]))

    def _rewards(self, mean: Array, deviation: Array, factors: Array) -> tuple[Array, Array]:
        if not self.logistic:
            return mean * factors, deviation * factors
        accuracies = 1 / (1 + np.exp(-(mean[:, None] + deviation[:, None] * _NODES)))  # (N, 6)
        expected = accuracies @ _WEIGHTS
        variance = np.square(accuracies - expected[:, None]) @ _WEIGHTS
        return expected * factors, np.sqrt(variance) * factors


class Learner:
    """The model of a study's trials, fitted again as they come; a function of the trials alone.

    What it keeps from one time to the next saves time: what ended trials tell, and the model's own
    settings, which are those of the latest count of trials that refits.
    """

    def __init__(self, cost: KnownCost) -> None:
        self.cost = cost
        self._reader = Reader(cost)
        self._leading = History.of([])  # the leading trials that have ended
        self._encoding: Encoding | None = None
        self._theta: tuple[list[Told], Encoding, Array] | None = None  # fitted to them, so encoded

    def read(self, trials: Sequence[FrozenTrial]) -> list[Told]:
        """What each of the trials tells, whatever became of it."""
        return self._reader.read(trials)

    def record(self, told: list[Told]) -> History:
        """What they tell together; the leading ones that have ended are put together once."""
        leading = self._leading
        if told[: len(leading.told)] != leading.told:
            leading = History.of([])
        rest = told[len(leading.told) :]
        new = list(takewhile(lambda one: one.state.is_finished(), rest))
        if new:
            leading = leading + History.of(new)
        self._leading = leading
        return leading + History.of(rest[len(new) :])

    def observe(self, study: Study, record: History) -> Observations | None:
        """What they tell together; None where that is too little for a model."""
        if len(record.told) < STARTUP:
            return None
        observed = Observations.recorded(record, direction=study.direction)
        return observed if len(observed.values) >= FEWEST else None

    def model(
        self,
        study: Study,
        record: History,
        observed: Observations,
        *,
        distributions: Mapping[str, BaseDistribution],
        running: Sequence[Mapping[str, Any]] = (),
    ) -> "AccuracyModel":
        """The model of `observed`, what `record` tells; `running` have told nothing yet."""
        ended, costs = record.ended, self.cost.range(record.costs)
        encoding = self._encoding
        if encoding is None or not encoding.fits(distributions, costs):
            encoding = self._encoding = Encoding.of(distributions, self.cost, costs)
        first = ended[: _refitted(len(ended))]
        if self._theta is None or self._theta[0] != first or self._theta[1] is not encoding:
            early = Observations.recorded(History.of(first), direction=study.direction)
            enough = len(ended) >= STARTUP and len(early.values) >= FEWEST
            theta = AccuracyModel.fit(early if enough else observed, encoding).process.theta
            self._theta = (first, encoding, theta) if enough else None
        else:
            theta = self._theta[2]
        return AccuracyModel.fit(observed, encoding, running=running, start=theta, steps=0)

    def chances(
        self,
        study: Study,
        trials: list[FrozenTrial],
        *,
        windows: Sequence[tuple[float, float]] = (),
    ) -> dict[int, float]:
        """By the number of each trial that has told anything: how probable it is the best.

        With `windows` (low, high) of cost: the best within some of them that it is in. Empty where
        the trials tell too little for a model.
        """
        record = self.record(self._reader.begun(trials))
        observed = self.observe(study, record)
        if observed is None:
            return {}
        asked = {n: d for trial in record.asked.values() for n, d in trial.distributions.items()}
        model = self.model(study, record, observed, distributions=asked)
        kept = informative(observed)
        among = [np.ones(len(kept.values), dtype=bool)]
        if windows:
            costs = np.array([self.cost.of(params) for params in kept.params])
            among = [(low <= costs) & (costs <= high) for low, high in windows]
        chances = model.chances(kept, among)
        return dict(zip(kept.numbers.tolist(), chances.tolist(), strict=True))


def _refitted(count: int) -> int:
    """The largest of 5, 6, ..., 20, 22, 24, ... (each a tenth more) that is at most `count`."""
    reached = following = STARTUP
    while following <= count:
        reached, following = following, max(following + 1, int(following * REFIT))
    return reached
