"""The observations of a model of the accuracy, from trials, at their full length.

Symbols as in `accuracy_model`: N observations, their `values` y, `extra_noise` e and `factors` f.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from experiments.samplers.known_cost import KnownCost
from experiments.samplers.learning_curves import LearningCurves, marks_of
from experiments.samplers.told import History, Reader

Array = npt.NDArray[np.float64]

EDGE = 1e-4  # accuracies nearer to 0 or 1 count as this near
MOST = 300  # observations of the model; this bounds the time of a suggestion


@dataclass(frozen=True)
class Observations:
    """Accuracies, on a scale on which equal differences count alike.

    If all are in [0, 1] the scale is log(accuracy / (1 - accuracy)): from 98 to 99 % is as
    far as from 50 to 67 %. Else it is the value itself.
    """

    params: list[Mapping[str, Any]]
    values: Array  # (N,) on that scale, at the full length, or the evidence of the curve
    extra_noise: Array  # (N,) variance, for trials that have not ended
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
        """Every trial that has reported: finished, stopped or running.

        A trial that has not ended has the evidence of its curve for the full length
        (`LearningCurves`), with its variance. A study that minimises has its signs changed.
        """
        return cls.recorded(History.of(Reader(cost).read(trials)), direction=direction)

    @classmethod
    def recorded(cls, record: History, *, direction: StudyDirection) -> "Observations":
        """As `of`, for trials that have been read."""
        sign = 1.0 if direction == StudyDirection.MAXIMIZE else -1.0
        ends = sign * record.ends
        logistic = bool(((ends >= 0) & (ends <= 1)).all())
        values, variances = _at_full_length(record, sign, logistic)
        return cls(
            params=record.params,
            values=values,
            extra_noise=variances,
            factors=record.factors,
            numbers=record.numbers,
            logistic=logistic,
        )

    def only(self, kept: npt.NDArray[np.intp]) -> "Observations":
        """The observations at these places."""
        params = [self.params[i] for i in kept]
        arrays = (self.values[kept], self.extra_noise[kept], self.factors[kept], self.numbers[kept])
        return Observations(params, *arrays, self.logistic)


def informative(observed: Observations) -> Observations:
    """All; or `MOST` of them: one half the best as observed, the others evenly over the rest."""
    if len(observed.values) <= MOST:
        return observed
    seen = observed.values
    if observed.logistic:
        seen = 1 / (1 + np.exp(-seen))
    order = np.argsort(-seen * observed.factors, kind="stable")
    best, rest = order[: MOST // 2], order[MOST // 2 :]
    evenly = rest[np.linspace(0, len(rest) - 1, MOST - len(best)).astype(int)]
    return observed.only(np.sort(np.concatenate([best, evenly])))


def scaled(accuracies: Array, *, logistic: bool) -> Array:
    """On the scale of `Observations`."""
    if not logistic:
        return accuracies
    inside = np.clip(accuracies, EDGE, 1 - EDGE)
    found: Array = np.log(inside / (1 - inside))
    return found


def _at_full_length(record: History, sign: float, logistic: bool) -> tuple[Array, Array]:
    """Each trial's value at the end (N,), and its variance (N,): 0 if it is there."""
    finals = sign * record.finals
    values, variances = scaled(finals, logistic=logistic), np.zeros(len(finals))
    done = np.isfinite(finals)
    if done.all() or not record.curves:
        return values, variances
    table = scaled(sign * record.table, logistic=logistic)
    model = LearningCurves.fit(table, marks_of(record.marks))
    open_ = ~done & record.curved
    values[open_], variances[open_] = model.evidence(table[open_[record.curved]])
    return values, variances
