"""A model of accuracy, learnt from trials; with the known cost it gives the expected reward.

Symbols and shapes, here and in `observations`, `gaussian_process`, `encoding`, `cost_aware`:

| symbol | shape | name in the code | what it is |
|---|---|---|---|
| N | | | observations: trials that have reported, finished or not; at most `MOST` |
| M | | | networks whose reward is predicted |
| D | | | parameters of the space, and the logarithm of the cost as one more |
| C | | | columns: each parameter has several, see `Encoding` |
| X | (N, C) | `columns` | the observed networks, encoded |
| g | (C,) | `groups` | the parameter, 0 to D - 1, that a column belongs to |
| y | (N,) | `values` | log(a / (1 - a)) of the accuracy a; a itself if some a is not in [0, 1] |
| e | (N,) | `extra_noise` | variance of y, if it is forecast from a curve that has not ended |
| f | (N,) or (M,) | `factors` | (cost / target)^exponent, known exactly; reward = a * f |
| theta | (3 + D,) | `theta` | logarithms of the two amplitudes, the noise, and D weights |
| K | (N, N) | `covariance` | of y under theta; `root` (N, N) is its Cholesky factor |
| m, s | (M,) | `mean`, `deviation` | the process's prediction of y at the M networks |

The reward's mean and standard deviation, both (M,), are those of sigmoid(m + s z) * f, z normal.
The sigmoid is not linear, so the integral is approximated by a Gauss-Hermite sum over `_NODES`.
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

STARTUP = 5  # trials, with any outcome, before the model
FEWEST = 3  # of them that have reported
REFIT = 1.1  # growth of the trials after which the model's own settings are fitted again
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(6)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class AccuracyModel:
    """A Gaussian process of the accuracies, and the encoding of its parameters."""

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
        """The model of the observations, or of the `MOST` most informative ones.

        Each running network counts as observed at the model's expectation: this does not change
        predictions near it, but lowers their uncertainty. `believe_low` is that of
        `GaussianProcess.fit`.
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
        """The probability of each of `observed`, which the model was fitted to, to be the best.

        By the reward without noise, compared with the highest expected reward of another. `among`
        are groups (N,), as of budgets: each gets its highest probability over its groups.
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

    What it keeps between calls only saves time: data of ended trials, and the model's settings,
    which are those of the latest count of trials at which it is refitted.
    """

    def __init__(self, cost: KnownCost) -> None:
        self.cost = cost
        self._reader = Reader(cost)
        self._leading = History.of([])  # the leading trials that have ended
        self._encoding: Encoding | None = None
        self._theta: tuple[list[Told], Encoding, Array] | None = None  # fitted to; encoding

    def read(self, trials: Sequence[FrozenTrial]) -> list[Told]:
        """The data of each trial, with any outcome."""
        return self._reader.read(trials)

    def record(self, told: list[Told]) -> History:
        """Their data together; the leading ended ones are put together only once."""
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
        """The observations of these trials; None if they are too few for a model."""
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
        """The model of `observed`, the data of `record`; `running` have not reported yet."""
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
        """The probability of each trial that has reported to be the best, by its number.

        With `windows` (low, high) of cost: to be the best of one of its windows. Empty if there is
        too little data for a model.
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
