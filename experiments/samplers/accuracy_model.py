"""Accuracy learnt from trials, the cost known: what reward is to be expected of a network.

Symbols and shapes, here and in `gaussian_process`, `encoding` and `cost_aware`:

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

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm

from experiments.samplers.encoding import Encoding
from experiments.samplers.gaussian_process import GaussianProcess
from experiments.samplers.known_cost import KnownCost
from experiments.samplers.learning_curves import LearningCurves, tabled

Array = npt.NDArray[np.float64]

EDGE = 1e-4  # accuracies nearer to 0 or 1 count as this near
STARTUP = 5  # trials, whatever became of them, before the model
FEWEST = 3  # of them have told something
REFIT = 1.1  # growth of the trials after which the model's own settings are fitted again
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
    values: Array  # (N,) on that scale, of fully trained networks or what they are to reach
    extra_noise: Array  # (N,) variance, of what has not ended
    factors: Array  # (N,)
    numbers: npt.NDArray[np.intp]  # (N,) of the trials
    logistic: bool

    @classmethod
    def of(
        cls,
        trials: Sequence[FrozenTrial],
        cost: KnownCost,
        *,
        direction: StudyDirection = StudyDirection.MAXIMIZE,
    ) -> "Observations":
        """Every trial that has told anything: finished, stopped or running.

        What has not ended stands at what it is to reach at the full length (`LearningCurves`), with
        the variance of that. A study that minimises is observed with its signs changed.
        """
        sign = 1.0 if direction == StudyDirection.MAXIMIZE else -1.0
        told = [t for t in trials if t.params and _tells(t) and cost.knows(t.params)]
        factors = [cost.factor(t.params) for t in told]
        finals = np.array([
            sign * _accuracy(t, factor, cost) if t.state == TrialState.COMPLETE else math.nan
            for t, factor in zip(told, factors, strict=True)
        ])  # fmt: skip
        curves = [
            {step: sign * value / factor for step, value in t.intermediate_values.items()}
            for t, factor in zip(told, factors, strict=True)
        ]
        curves = [{s: v for s, v in curve.items() if math.isfinite(v)} for curve in curves]
        seen = [value for curve in curves for value in curve.values()]
        seen += finals[np.isfinite(finals)].tolist()
        logistic = all(0.0 <= value <= 1.0 for value in seen)
        values, variances = _at_full_length(curves, finals, logistic)
        return cls(
            params=[t.params for t in told],
            values=values,
            extra_noise=variances,
            factors=np.array(factors),
            numbers=np.array([t.number for t in told], dtype=np.intp),
            logistic=logistic,
        )

    def only(self, kept: npt.NDArray[np.intp]) -> "Observations":
        """Those at these places."""
        params = [self.params[i] for i in kept]
        arrays = (self.values[kept], self.extra_noise[kept], self.factors[kept], self.numbers[kept])
        return Observations(params, *arrays, self.logistic)


def _tells(trial: FrozenTrial) -> bool:
    if trial.state == TrialState.COMPLETE:
        return _finite(trial.value)
    on_its_way = trial.state in (TrialState.PRUNED, TrialState.RUNNING)
    return on_its_way and any(map(math.isfinite, trial.intermediate_values.values()))


def _at_full_length(
    curves: list[dict[int, float]], finals: Array, logistic: bool
) -> tuple[Array, Array]:
    """Each trial's value at the end (N,), and its variance (N,): 0 where it is there.

    A finished trial's curve ends with its value, whatever its last report was.
    """
    done = np.isfinite(finals)
    values, variances = _scaled(finals, logistic), np.zeros(len(finals))
    told = np.array([bool(curve) for curve in curves], dtype=bool)
    if done.all() or not told.any():
        return values, variances
    for i in np.flatnonzero(done & told):
        curves[i][max(curves[i])] = finals[i]
    table, marks = tabled([curve for curve in curves if curve])
    table = _scaled(table, logistic)
    model = LearningCurves.fit(table, marks)
    open_ = ~done & told
    values[open_], variances[open_] = model.foretell(table[open_[told]])
    return values, variances


def _accuracy(trial: FrozenTrial, factor: float, cost: KnownCost) -> float:
    """The trial's accuracy; without a known cost what the study judges by takes its place."""
    accuracy = trial.user_attrs.get("accuracy") if cost.given else None
    if isinstance(accuracy, int | float) and math.isfinite(accuracy):
        return float(accuracy)
    assert trial.value is not None
    return trial.value / factor


def _scaled(accuracies: Array, logistic: bool) -> Array:
    if not logistic:
        return accuracies
    inside = np.clip(accuracies, EDGE, 1 - EDGE)
    scaled: Array = np.log(inside / (1 - inside))
    return scaled


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

    def chances(self, observed: Observations) -> Array:
        """How probable it is that each, some of what this was fitted to, is better than the rest.

        Judged by the reward without noise, against the highest that is expected of another.
        """
        expected, _ = self.rewards(observed.params, observed.factors)
        best = np.full(len(expected), -np.inf)
        first, second = np.argsort(-expected, kind="stable")[:2] if len(expected) > 1 else (0, 0)
        best[:] = expected[first]
        best[first] = expected[second] if len(expected) > 1 else -np.inf
        columns = np.array([self.encoding.encode(params) for params in observed.params])
        mean, deviation = self.process.predict(columns)
        needed = best / observed.factors
        if self.logistic:
            needed = _scaled(needed, logistic=True)
        chances: Array = norm.sf((needed - mean) / deviation)
        return chances

    def rewards(self, params: Sequence[Mapping[str, Any]], factors: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free reward of each network."""
        mean, deviation = self.process.predict(np.array([self.encoding.encode(p) for p in params]))
        if not self.logistic:
            return mean * factors, deviation * factors
        accuracies = 1 / (1 + np.exp(-(mean[:, None] + deviation[:, None] * _NODES)))  # (N, 6)
        expected = accuracies @ _WEIGHTS
        variance = np.square(accuracies - expected[:, None]) @ _WEIGHTS
        return expected * factors, np.sqrt(variance) * factors


class Learner:
    """The model of a study's trials, fitted again as they come; a function of the trials alone.

    What it keeps from one time to the next saves time: its own settings are those of the latest
    count of trials that refits.
    """

    def __init__(self, cost: KnownCost) -> None:
        self.cost = cost
        self._encoding: Encoding | None = None
        self._theta: tuple[int, Encoding, Array] | None = None  # fitted to so many, so encoded

    def observe(self, study: Study, trials: Sequence[FrozenTrial]) -> Observations | None:
        """What they tell; None where that is too little for a model."""
        observed = Observations.of(trials, self.cost, direction=study.direction)
        enough = len(trials) >= STARTUP and len(observed.values) >= FEWEST
        return observed if enough else None

    def model(
        self,
        study: Study,
        trials: Sequence[FrozenTrial],
        observed: Observations,
        *,
        distributions: Mapping[str, BaseDistribution],
        running: Sequence[Mapping[str, Any]] = (),
    ) -> "AccuracyModel":
        """The model of `observed`, some of `trials`; `running` have told nothing yet."""
        ended = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        tried = [t.params for t in ended]
        encoding = self._encoding
        if encoding is None or not encoding.fits(distributions, tried):
            encoding = self._encoding = Encoding.of(distributions, self.cost, tried)
        count = _refitted(len(ended))
        if self._theta is None or self._theta[0] != count or self._theta[1] is not encoding:
            first = Observations.of(ended[:count], self.cost, direction=study.direction)
            enough = len(ended) >= STARTUP and len(first.values) >= FEWEST
            fitted = AccuracyModel.fit(first if enough else observed, encoding)
            self._theta = (count, encoding, fitted.process.theta) if enough else None
            theta = fitted.process.theta
        else:
            theta = self._theta[2]
        return AccuracyModel.fit(observed, encoding, running=running, start=theta, steps=0)

    def chances(self, study: Study, trials: Sequence[FrozenTrial]) -> dict[int, float]:
        """By the number of each trial that has told anything: how probable it is the best.

        Empty where the trials tell too little for a model.
        """
        observed = self.observe(study, trials)
        if observed is None:
            return {}
        distributions = {name: d for t in trials for name, d in t.distributions.items()}
        model = self.model(study, trials, observed, distributions=distributions)
        kept = informative(observed)
        chances = model.chances(kept)
        return dict(zip(kept.numbers.tolist(), chances.tolist(), strict=True))


def _refitted(count: int) -> int:
    """The largest of 5, 6, ..., 20, 22, 24, ... (each a tenth more) that is at most `count`."""
    reached = following = STARTUP
    while following <= count:
        reached, following = following, max(following + 1, int(following * REFIT))
    return reached


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
