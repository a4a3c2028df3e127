"""The data that a model takes from trials, read once for each.

`Told` is one trial, `History` many of them in arrays. Most trials of a study have ended, and their
data do not change.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.trial import FrozenTrial, TrialState

from experiments.samplers.known_cost import Facts, KnownCost
from experiments.samplers.learning_curves import compared, row_of

Array = npt.NDArray[np.float64]

# The user attribute of a trial that was drawn and rejected: outside the limits, or tried before.
# The study in memory has it, the stored one does not. So it counts until the suggestion is found
# and never after: otherwise a continued search would propose other networks.
THROWN_BACK = "thrown_back"


_ENDED = frozenset({TrialState.COMPLETE, TrialState.PRUNED})


@dataclass(slots=True, eq=False)
class Told:
    """The data of one trial: accuracies as reported, for either direction of the study."""

    trial: FrozenTrial
    number: int
    state: TrialState
    params: Mapping[str, Any]
    names: tuple[str, ...]  # of the parameters
    facts: Facts
    thrown_back: bool
    curve: dict[int, float] = field(default_factory=dict)  # finite ones by step
    final: float = math.nan  # of a finished trial
    low: float = math.nan  # the lowest and the highest of its values; nan if it has none
    high: float = math.nan
    factor: float = 1.0
    row: tuple[list[int], Array] | None = None  # the steps of a table, and the curve at them

    @classmethod
    def of(cls, trial: FrozenTrial, cost: KnownCost) -> "Told":
        """Read a trial. A finished one's curve ends with its value, not with its last report."""
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

    def at(self, steps: list[int]) -> Array:
        """The curve at the steps of a table (G,), nan after its end."""
        if self.row is None or self.row[0] != steps:
            self.row = (steps, row_of(self.curve, steps))
        return self.row[1]


class Reader:
    """Reads trials, the ended ones once; the result is a function of the trials alone.

    Optuna's storages hold an ended trial as one object that never changes. If it is another object
    and not equal, the trial was replaced, and is read again.
    """

    def __init__(self, cost: KnownCost) -> None:
        self._cost = cost
        self._kept: dict[int, Told] = {}
        self._leading: tuple[list[FrozenTrial], list[Told]] = ([], [])

    def read(self, trials: Sequence[FrozenTrial]) -> list[Told]:
        """The data of each, in their order."""
        kept, found = self._kept, []
        for trial in trials:
            told = kept.get(trial.number)
            if told is None or (told.trial is not trial and told.trial != trial):
                told = Told.of(trial, self._cost)
                if told.state.is_finished():
                    kept[told.number] = told
            found.append(told)
        return found

    def begun(self, trials: list[FrozenTrial]) -> list[Told]:
        """Those that were not rejected. The leading ended ones are read once."""
        leading, begun = self._leading
        if trials[: len(leading)] != leading:
            leading, begun = [], []
        new = list(takewhile(lambda trial: trial.state.is_finished(), trials[len(leading) :]))
        if new:
            self._leading = leading, begun = [*leading, *new], [*begun, *self._handed_out(new)]
        return [*begun, *self._handed_out(trials[len(leading) :])]

    def _handed_out(self, trials: Sequence[FrozenTrial]) -> list[Told]:
        return [one for one in self.read(trials) if one.params and not one.thrown_back]


@dataclass(frozen=True)
class History:
    """The data of trials together; N of them have reported."""

    told: list[Told]  # all of them
    ended: list[Told]  # those that went to their end, or were stopped
    costs: Array  # of the networks of `ended`, nan where not known
    asked: dict[tuple[str, ...], FrozenTrial]  # a trial for each set of parameters
    params: list[Mapping[str, Any]]
    ends: Array  # (N, 2) the lowest and the highest value of each
    finals: Array  # (N,) of the finished ones, else nan
    factors: Array  # (N,)
    numbers: npt.NDArray[np.intp]  # (N,)
    curved: npt.NDArray[np.bool_]  # (N,) whether it has a curve
    curves: list[Told]  # those that have one
    steps: set[int]  # of all curves
    marks: list[int]  # the steps that are compared (G,)
    table: Array  # (len(curves), G)

    @classmethod
    def of(cls, told: list[Told]) -> "History":
        """The history of these trials."""
        ended = [one for one in told if one.state in _ENDED]
        tell = [one for one in told if not math.isnan(one.low)]
        curves = [one for one in tell if one.curve]
        steps = set[int]().union(*(one.curve for one in curves))
        marks = compared(steps)
        return cls(
            told=told,
            ended=ended,
            costs=np.array([one.facts.cost for one in ended], dtype=float),
            asked={one.names: one.trial for one in told},
            params=[one.params for one in tell],
            ends=np.array([(one.low, one.high) for one in tell], dtype=float).reshape(-1, 2),
            finals=np.array([one.final for one in tell], dtype=float),
            factors=np.array([one.factor for one in tell], dtype=float),
            numbers=np.array([one.number for one in tell], dtype=np.intp),
            curved=np.array([bool(one.curve) for one in tell], dtype=bool),
            curves=curves,
            steps=steps,
            marks=marks,
            table=_tabled(curves, marks),
        )

    def __add__(self, later: "History") -> "History":
        """The history of these trials and later ones."""
        steps = self.steps | later.steps
        marks = compared(steps)
        tables = [r.table if r.marks == marks else _tabled(r.curves, marks) for r in (self, later)]
        return History(
            told=self.told + later.told,
            ended=self.ended + later.ended,
            costs=np.concatenate([self.costs, later.costs]),
            asked=self.asked | later.asked,
            params=self.params + later.params,
            ends=np.concatenate([self.ends, later.ends]),
            finals=np.concatenate([self.finals, later.finals]),
            factors=np.concatenate([self.factors, later.factors]),
            numbers=np.concatenate([self.numbers, later.numbers]),
            curved=np.concatenate([self.curved, later.curved]),
            curves=self.curves + later.curves,
            steps=steps,
            marks=marks,
            table=np.concatenate(tables),
        )


def _tabled(curves: Sequence[Told], marks: list[int]) -> Array:
    """The curves at the marks (len(curves), G), nan after the end of each."""
    if not curves:
        return np.empty((0, len(marks)))
    return np.concatenate([one.at(marks) for one in curves]).reshape(len(curves), len(marks))


def _accuracy(trial: FrozenTrial, factor: float, cost: KnownCost) -> float:
    """The trial's accuracy; without a known cost the study's value."""
    accuracy = trial.user_attrs.get("accuracy") if cost.given else None
    if isinstance(accuracy, int | float) and math.isfinite(accuracy):
        return float(accuracy)
    assert trial.value is not None
    return trial.value / factor


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
