"""What trials tell a model of the accuracy; an ended trial is read once.

Symbols as in `accuracy_model`: N observations, their `values` y, `extra_noise` e and `factors` f.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from experiments.samplers.known_cost import Facts, KnownCost
from experiments.samplers.learning_curves import LearningCurves, marks_of, row_of, steps_of

Array = npt.NDArray[np.float64]

EDGE = 1e-4  # accuracies nearer to 0 or 1 count as this near
# The user attribute of a trial that was drawn, but not handed out: outside the limits, or tried
# before. A study in memory holds it, the stored one does not. So it counts until the suggestion is
# found and never after: else a continued search would propose other networks.
THROWN_BACK = "thrown_back"
MOST = 300  # observations that the model holds; keeps a suggestion's time bounded


@dataclass(slots=True, eq=False)
class Told:
    """What one trial tells, whatever the study's direction: accuracies, as they were told."""

    trial: FrozenTrial
    number: int
    state: TrialState
    params: Mapping[str, Any]
    names: tuple[str, ...]  # of the parameters; one object for equal ones
    facts: Facts
    thrown_back: bool
    curve: dict[int, float] = field(default_factory=dict)  # finite ones by step
    final: float = math.nan  # of a finished trial
    low: float = math.nan  # of all that it tells, and the highest; nan where it tells nothing
    high: float = math.nan
    factor: float = 1.0
    row: tuple[list[int], Array] | None = None  # the steps of a table, and the curve at them

    @classmethod
    def of(cls, trial: FrozenTrial, cost: KnownCost) -> "Told":
        """Read a trial. A finished one's curve ends with its value, whatever its last report."""
        params, state = trial.params, trial.state
        facts, thrown_back = cost.facts(params), THROWN_BACK in trial.user_attrs
        told = cls(trial, trial.number, state, params, tuple(params), facts, thrown_back)
        done = state == TrialState.COMPLETE and _finite(trial.value)
        on_its_way = state in (TrialState.PRUNED, TrialState.RUNNING)
        if not (params and (done or on_its_way) and told.facts.known):
            return told
        factor = told.factor = told.facts.factor
        reports = trial.intermediate_values
        curve = {step: value / factor for step, value in reports.items() if math.isfinite(value)}
        seen = list(curve.values())
        if done:
            told.final = _accuracy(trial, factor, cost)
            seen.append(told.final)
            if curve:
                curve[max(curve)] = told.final
        told.curve, told.low, told.high = curve, min(seen, default=math.nan), max(seen, default=0.0)
        return told

    @property
    def ended(self) -> bool:
        """Whether the trial went to its end, or was stopped."""
        return self.state in _ENDED

    def at(self, steps: list[int]) -> Array:
        """The curve at the steps of a table (G,), nan after its end."""
        if self.row is None or self.row[0] != steps:
            self.row = (steps, row_of(self.curve, steps))
        return self.row[1]


_ENDED = frozenset({TrialState.COMPLETE, TrialState.PRUNED})


class Reader:
    """Reads trials, the ended ones once; what it gives is a function of the trials alone.

    Optuna's storages hold an ended trial as one object that never changes; one that is another
    object and not equal either was put in its place, and is read anew.
    """

    def __init__(self, cost: KnownCost) -> None:
        self._cost = cost
        self._kept: dict[int, Told] = {}
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def read(self, trials: Sequence[FrozenTrial]) -> list[Told]:
        """What each tells, in their order."""
        kept, found = self._kept, []
        for trial in trials:
            told = kept.get(trial.number)
            if told is None or (told.trial is not trial and told.trial != trial):
                told = Told.of(trial, self._cost)
                told.names = self._names.setdefault(told.names, told.names)
                if told.state.is_finished():
                    kept[told.number] = told
            found.append(told)
        return found


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
        return cls.told(Reader(cost).read(trials), direction=direction)

    @classmethod
    def told(cls, told: Sequence[Told], *, direction: StudyDirection) -> "Observations":
        """As `of`, of trials that have been read."""
        sign = 1.0 if direction == StudyDirection.MAXIMIZE else -1.0
        told = [one for one in told if not math.isnan(one.low)]
        ends = sign * np.array([(one.low, one.high) for one in told], dtype=float)
        logistic = bool(((ends >= 0) & (ends <= 1)).all())
        values, variances = _at_full_length(told, sign, logistic)
        return cls(
            params=[one.params for one in told],
            values=values,
            extra_noise=variances,
            factors=np.array([one.factor for one in told], dtype=float),
            numbers=np.array([one.number for one in told], dtype=np.intp),
            logistic=logistic,
        )

    def only(self, kept: npt.NDArray[np.intp]) -> "Observations":
        """Those at these places."""
        params = [self.params[i] for i in kept]
        arrays = (self.values[kept], self.extra_noise[kept], self.factors[kept], self.numbers[kept])
        return Observations(params, *arrays, self.logistic)


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


def scaled(accuracies: Array, *, logistic: bool) -> Array:
    """On the scale of `Observations`."""
    if not logistic:
        return accuracies
    inside = np.clip(accuracies, EDGE, 1 - EDGE)
    found: Array = np.log(inside / (1 - inside))
    return found


def _at_full_length(told: Sequence[Told], sign: float, logistic: bool) -> tuple[Array, Array]:
    """Each trial's value at the end (N,), and its variance (N,): 0 where it is there."""
    finals = sign * np.array([one.final for one in told], dtype=float)
    values, variances = scaled(finals, logistic=logistic), np.zeros(len(told))
    done = np.isfinite(finals)
    curved = [one for one in told if one.curve]
    if done.all() or not curved:
        return values, variances
    steps = steps_of([one.curve for one in curved])
    table = np.concatenate([one.at(steps) for one in curved]).reshape(len(curved), len(steps))
    table = scaled(sign * table, logistic=logistic)
    model = LearningCurves.fit(table, marks_of(steps))
    has_curve = np.array([bool(one.curve) for one in told])
    open_ = ~done & has_curve
    values[open_], variances[open_] = model.foretell(table[open_[has_curve]])
    return values, variances


def _accuracy(trial: FrozenTrial, factor: float, cost: KnownCost) -> float:
    """The trial's accuracy; without a known cost what the study judges by takes its place."""
    accuracy = trial.user_attrs.get("accuracy") if cost.given else None
    if isinstance(accuracy, int | float) and math.isfinite(accuracy):
        return float(accuracy)
    assert trial.value is not None
    return trial.value / factor


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
