"""What a study has shown of the accuracy, freed of the known factor of the cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from experiments.samplers.known_cost import KnownCost

Array = npt.NDArray[np.float64]

EDGE = 1e-4  # accuracies nearer to 0 or 1 count as this near
FEWEST = 5  # finished trials from which an early accuracy's worth is learnt


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
