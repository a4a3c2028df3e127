"""Accuracy learnt from trials, the cost known: what reward is to be expected of a network.

Symbols and shapes, here and in `gaussian_process`, `encoding` and `cost_aware`:

| symbol | shape | name in the code | what it is |
|---|---|---|---|
| N | | | observations: finished trials, and stopped ones that tell enough; at most `MOST` |
| M | | | networks whose reward is asked for |
| D | | | parameters of the space, and the logarithm of the cost as one more |
| C | | | columns: each parameter has several, see `Encoding` |
| X | (N, C) | `columns` | the observed networks, encoded |
| g | (C,) | `groups` | the parameter, 0 to D - 1, that a column belongs to |
| y | (N,) | `values` | log(a / (1 - a)) of the accuracy a; a itself where some a is not in [0, 1] |
| e | (N,) | `extra_noise` | variance of y, as far as it was guessed from a stopped trial |
| f | (N,) or (M,) | `factors` | (cost / target)^exponent, known exactly; reward = a * f |
| theta | (3 + D,) | `theta` | logarithms of the two amplitudes, the noise, and D weights |
| K | (N, N) | `covariance` | of y under theta; `root` (N, N) is its Cholesky factor |
| m, s | (M,) | `mean`, `deviation` | what the process says of y at the M networks |

The reward's mean and standard deviation, both (M,), are those of sigmoid(m + s z) * f, z normal.
The sigmoid is not linear, so a Gauss-Hermite sum over `_NODES` takes the place of the integral.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from experiments.samplers.encoding import Encoding
from experiments.samplers.gaussian_process import GaussianProcess
from experiments.samplers.known_cost import KnownCost

Array = npt.NDArray[np.float64]

EDGE = 1e-4  # accuracies nearer to 0 or 1 count as this near
FEWEST = 5  # finished trials from which an early accuracy's worth is learnt
MOST = 300  # observations that the model holds; keeps a suggestion's time bounded
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(6)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class Observations:
    """Accuracies, on a scale on which differences count alike.

    Where all lie in [0, 1] the scale is log(accuracy / (1 - accuracy)): from 98 to 99 % is as
    far as from 50 to 67 %. Else it is the value itself.
    """

    params: list[Mapping[str, Any]]
    values: Array  # (N,) on that scale, of fully trained networks or what they would have reached
    extra_noise: Array  # (N,) variance, of what was stopped early
    factors: Array  # (N,)
    logistic: bool

    @classmethod
    def of(
        cls,
        trials: Sequence[FrozenTrial],
        cost: KnownCost,
        *,
        direction: StudyDirection = StudyDirection.MAXIMIZE,
    ) -> "Observations":
        """Finished trials, and stopped ones as far as finished ones tell what they were worth.

        A study that minimises is observed with its signs changed.
        """
        sign = 1.0 if direction == StudyDirection.MAXIMIZE else -1.0
        trials = [t for t in trials if t.params and cost.knows(t.params)]
        done = [t for t in trials if t.state == TrialState.COMPLETE and _finite(t.value)]
        stopped = [t for t in trials if t.state == TrialState.PRUNED and t.intermediate_values]
        factors = {id(t): cost.factor(t.params) for t in (*done, *stopped)}
        finals = {id(t): sign * _accuracy(t, factors[id(t)]) for t in done}
        logistic = all(0.0 <= a <= 1.0 for a in finals.values())

        def early(trial: FrozenTrial, step: int) -> float:
            value = trial.intermediate_values.get(step, math.nan)
            return _scaled(sign * value / factors[id(trial)], logistic)

        values = {one: _scaled(a, logistic) for one, a in finals.items()}
        noise = dict.fromkeys(values, 0.0)
        for trial in stopped:
            step = max(trial.intermediate_values)
            pairs = np.array([(early(t, step), values[id(t)]) for t in done]).reshape(-1, 2)
            at = early(trial, step)
            guess = _guess(at, pairs[np.isfinite(pairs).all(axis=1)])
            if guess is not None:
                values[id(trial)], noise[id(trial)] = guess
        kept = [t for t in (*done, *stopped) if id(t) in values]
        return cls(
            params=[t.params for t in kept],
            values=np.array([values[id(t)] for t in kept]),
            extra_noise=np.array([noise[id(t)] for t in kept]),
            factors=np.array([factors[id(t)] for t in kept]),
            logistic=logistic,
        )

    def only(self, kept: npt.NDArray[np.intp]) -> "Observations":
        """Those at these places."""
        params = [self.params[i] for i in kept]
        arrays = (self.values[kept], self.extra_noise[kept], self.factors[kept])
        return Observations(params, *arrays, self.logistic)


def _guess(early: float, pairs: Array) -> tuple[float, float] | None:
    """What a trial stopped at `early` would have reached, and the variance of that guess.

    The line through the finished trials' `pairs` (N, 2) of their value at that epoch and their
    last one; None where too few of them reported that epoch.
    """
    if len(pairs) < FEWEST or not math.isfinite(early):
        return None
    x, y = pairs[:, 0] - pairs[:, 0].mean(), pairs[:, 1] - pairs[:, 1].mean()
    spread = max(float(x @ x), 1e-12)
    slope = min(max(float(x @ y) / spread, 0.0), 2.0)
    missed = y - slope * x
    at = early - float(pairs[:, 0].mean())
    variance = float(missed @ missed) / (len(pairs) - 2)
    beyond = min(at**2 / spread, 10.0)
    return float(pairs[:, 1].mean()) + slope * at, variance * (1 + 1 / len(pairs) + beyond)


def _accuracy(trial: FrozenTrial, factor: float) -> float:
    accuracy = trial.user_attrs.get("accuracy")
    if isinstance(accuracy, int | float) and math.isfinite(accuracy):
        return float(accuracy)
    assert trial.value is not None
    return trial.value / factor


def _scaled(accuracy: float, logistic: bool) -> float:
    if not logistic or math.isnan(accuracy):
        return accuracy
    accuracy = min(max(accuracy, EDGE), 1 - EDGE)
    return math.log(accuracy / (1 - accuracy))


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


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

    def rewards(self, params: Sequence[Mapping[str, Any]], factors: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free reward of each network."""
        mean, deviation = self.process.predict(np.array([self.encoding.encode(p) for p in params]))
        if not self.logistic:
            return mean * factors, deviation * factors
        accuracies = 1 / (1 + np.exp(-(mean[:, None] + deviation[:, None] * _NODES)))  # (N, 6)
        expected = accuracies @ _WEIGHTS
        variance = np.square(accuracies - expected[:, None]) @ _WEIGHTS
        return expected * factors, np.sqrt(variance) * factors


def informative(observed: Observations) -> Observations:
    """All; or the better half of `MOST` by what was seen, and the others evenly over the rest."""
    if len(observed.values) <= MOST:
        return observed
    seen = observed.values
    if observed.logistic:
        seen = 1 / (1 + np.exp(-seen))
    order = np.argsort(-seen * observed.factors, kind="stable")
    best, rest = order[: MOST // 2], order[MOST // 2 :]
    evenly = rest[np.linspace(0, len(rest) - 1, MOST - len(best)).astype(int)]
    return observed.only(np.sort(np.concatenate([best, evenly])))
