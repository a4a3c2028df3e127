"""A forecast of a trial's value at the full length, from its curve so far.

Symbols and shapes:

| symbol | shape | name in the code | what it is |
|---|---|---|---|
| N | | | curves: trials that have reported at least one value |
| G | | | marks: the steps (epochs) at which curves are compared, the last one the full length |
| Y | (N, G) | `table` | a curve's value at each mark, nan after the last mark that it reached |
| b | (G, G) | `slopes` | row j predicts mark j from the marks before it; zero from j on |
| c | (G,) | `shifts` | the intercepts of these regressions |
| v | (G,) | `variances` | the residual variance of row j |
| n | (G,) | `counts` | how many curves reached the mark |

Curves end early, so the value at each mark is regressed on all values before it, over the curves
that reached it. Early stopping decides by the values before the mark, so it does not bias this
regression (Little and Rubin, Statistical Analysis with Missing Data, 2002, section 7.4).

With few curves a regression on many marks would fit noise. So `PAST` made-up curves are added to
the real ones: two marks correlate by `ALIKE` plus a part that falls with the ratio of their steps.
If no curve has reached a mark, the last rise goes on, each time by `FADES` of the one before.

A forecast is close to the usual curve if the trial's own curve has little information. A model that
took such forecasts for measurements would learn that these networks are usual ones, and be sure of
that after many of them. So it gets only what the curve adds to the usual curve, the `evidence`.
With a forecast N(m, v), and N(u, w) for a network without a curve, the evidence is
N(u + (m - u) / t, v / t), t = 1 - v / w; its product with N(u, w) is the forecast.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MOST_MARKS = 16  # of longer curves only so many, evenly spaced by the logarithm of the step
# `PAST` was chosen on the first 100 trainings of digits in `curves.jsonl.gz`: with 24 curves,
# of which a third goes on at the epochs 1 and 3, squared errors are about as predicted. The
# other three were set by hand.
PAST = 8.0  # made-up curves
ALIKE = 0.3  # correlation of two marks far apart
SCALE = 0.25  # variance of the made-up curves if no two real ones can be compared
FADES = 0.6
LEAST_SPREAD = 1e-6  # variance
LEAST_TOLD = 1e-6  # share of the variance; evidence of a curve that explains less has no weight


@dataclass(frozen=True)
class LearningCurves:
    """The regressions of each mark on those before it; `fit` makes them."""

    slopes: Array  # (G, G)
    shifts: Array  # (G,)
    variances: Array  # (G,)
    counts: Array  # (G,)

    @classmethod
    def fit(cls, table: Array, marks: Sequence[float]) -> "LearningCurves":
        """From the curves `table` (N, G) at `marks` (G,), with nan after the end of each curve."""
        reached = np.isfinite(table)
        spreads = [table[reached[:, j], j].var(ddof=1) for j in np.flatnonzero(reached.sum(0) > 2)]
        spread = float(np.mean(spreads)) if spreads else SCALE
        # Equal curves, as of detectors that find nothing yet, would make the matrix singular.
        made_up = PAST * _alike(marks) * max(spread, LEAST_SPREAD)
        count = len(marks)
        slopes, shifts, variances = np.zeros((count, count)), np.zeros(count), np.zeros(count)
        usual = np.zeros(count)  # the mean curve
        for j in range(count):
            here = table[reached[:, j], : j + 1]
            middle = here.mean(axis=0) if len(here) else np.zeros(j + 1)
            scatter = made_up[: j + 1, : j + 1] + (here - middle).T @ (here - middle)
            row = np.linalg.solve(scatter[:j, :j], scatter[:j, j])
            slopes[j, :j] = row
            freedom = PAST + max(len(here) - 1, 0)
            variances[j] = max(scatter[j, j] - row @ scatter[:j, j], 0.0) / freedom
            if len(here):
                shifts[j] = middle[j] - row @ middle[:j]
                usual[j] = shifts[j] + row @ usual[:j]
            else:
                rise = usual[j - 1] - usual[j - 2] if j > 1 else 0.0
                usual[j] = usual[j - 1] + FADES * rise
                shifts[j] = usual[j] - row @ usual[:j]
        return cls(slopes, shifts, variances, reached.sum(axis=0).astype(float))

    def evidence(self, table: Array) -> tuple[Array, Array]:
        """The evidence of each curve on its value at the last mark (N,), and its variance (N,)."""
        mean, left, whole = self.foretell(table)
        (usual,), _, _ = self.foretell(np.full((1, table.shape[1]), np.nan))
        told = np.maximum(1 - left / whole, LEAST_TOLD)
        return usual + (mean - usual) / told, left / told

    def foretell(self, table: Array) -> tuple[Array, Array, float]:
        """Mean and variance (N,) at the last mark (0 for curves there); variance without a curve.

        The variance includes the uncertainty of the mean curve beyond the curve's end.
        """
        filled = table.copy()
        known = np.isfinite(table).sum(axis=1)
        for j in range(table.shape[1]):
            missing = known <= j
            filled[missing, j] = self.shifts[j] + filled[missing, :j] @ self.slopes[j, :j]
        through = np.linalg.inv(np.eye(len(self.shifts)) - self.slopes)[-1]  # (G,)
        each = np.square(through) * self.variances * (1 + 1 / np.maximum(self.counts, 0.5))
        beyond = np.append(each[::-1].cumsum()[::-1], 0.0)  # of all marks from j on
        return filled[:, -1], beyond[known], float(beyond[0])


def compared(steps: Iterable[int]) -> list[int]:
    """The steps at which curves with values at `steps` are compared."""
    steps = sorted(steps)
    if len(steps) > MOST_MARKS:
        places = np.geomspace(1, len(steps), MOST_MARKS).round().astype(int) - 1
        steps = [steps[place] for place in sorted(set(places.tolist()))]
    return steps


def marks_of(steps: Sequence[int]) -> list[float]:
    """The steps as numbers above zero, for `LearningCurves.fit`."""
    first = min((step for step in steps if step > 0), default=1)
    return [float(max(step, first)) for step in steps]


def row_of(curve: Mapping[int, float], steps: Sequence[int]) -> Array:
    """One curve's row (G,) of the table at `steps`."""
    row = np.full(len(steps), np.nan)
    place = {step: j for j, step in enumerate(steps)}
    if len(curve) <= len(steps) and all(step in place for step in curve):
        row[[place[step] for step in curve]] = list(curve.values())
        if np.isfinite(row[: max(place[step] for step in curve) + 1]).all():
            return row
    return _stepwise(curve, steps)


def _stepwise(curve: Mapping[int, float], steps: Sequence[int]) -> Array:
    told = sorted(curve)
    last = told[-1]
    at = np.searchsorted(told, steps, side="right") - 1
    values = np.array([curve[told[max(i, 0)]] for i in at])
    ended = max(sum(step <= last for step in steps), 1)
    values[ended:] = np.nan
    values[ended - 1] = curve[last]
    return values


def _alike(marks: Sequence[float]) -> Array:
    """Correlation (G, G) of the made-up curves' marks."""
    away = np.abs(np.subtract.outer(np.log(marks), np.log(marks)))
    return ALIKE + (1 - ALIKE) * np.exp(-away)
