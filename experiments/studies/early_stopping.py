"""When a weak trial stops: pure functions of the curves in the store, so that nothing is forgotten.

A curve is a trial's reward by epoch, a trial's number its suggestion. A continued search reads the
same curves and so decides as the uninterrupted one.
"""

import math
import statistics
from collections.abc import Iterator, Mapping

from experiments.config import EarlyStopping

Curve = Mapping[int, float]
Curves = Mapping[int, Curve]

FEWEST_OTHERS = 4  # before the median means something
_GOLDEN = (math.sqrt(5) - 1) / 2


def stops(rule: EarlyStopping, number: int, *, curves: Curves, epochs: int) -> bool:
    """Whether trial `number` stops after the last epoch of its curve, one of `curves`.

    `epochs` is the length of a whole training; its last epoch never stops anything.
    """
    curve = curves[number]
    now = max(curve, default=0)
    if rule.kind == "none" or not 0 < now < epochs:
        return False
    return _RULES[rule.kind](rule, number, now, curves, epochs)


def rungs(rule: EarlyStopping, epochs: int, *, bracket: int = 0) -> Iterator[int]:
    """first, first * factor, ...: the epochs below `epochs` at which trials are compared."""
    power = bracket
    while (rung := math.ceil(rule.first_epoch * rule.factor**power - 1e-9)) < epochs:
        yield rung
        power += 1


def bracket_of(rule: EarlyStopping, number: int, *, epochs: int) -> int:
    """The Hyperband bracket of a trial: bracket b has its first rung at first * factor^b.

    The shares are those of the paper (arXiv:1603.06560, algorithm 1): brackets that stop sooner
    have more trials. Numbers are dealt out evenly by the golden ratio, the same every time.
    """
    brackets = len(list(rungs(rule, epochs))) + 1  # the last one stops nobody
    shares = [rule.factor ** (brackets - 1 - b) / (brackets - b) for b in range(brackets)]
    mark = ((number + 1) * _GOLDEN % 1) * sum(shares)
    for bracket, share in enumerate(shares):
        mark -= share
        if mark < 0:
            return bracket
    return brackets - 1


def _asha(rule: EarlyStopping, number: int, now: int, curves: Curves, epochs: int) -> bool:
    """Asynchronous successive halving (arXiv:1810.05934), the variant that stops at a rung."""
    return _halves(rule, number, now, curves, list(rungs(rule, epochs)))


def _hyperband(rule: EarlyStopping, number: int, now: int, curves: Curves, epochs: int) -> bool:
    """Successive halving within the trial's bracket, against the trials of that bracket."""
    mine = bracket_of(rule, number, epochs=epochs)
    beside = {
        other: curve
        for other, curve in curves.items()
        if bracket_of(rule, other, epochs=epochs) == mine
    }
    return _halves(rule, number, now, beside, list(rungs(rule, epochs, bracket=mine)))


def _halves(rule: EarlyStopping, number: int, now: int, curves: Curves, marks: list[int]) -> bool:
    """Whether the trial, at a rung, is not in the best 1/factor of those that have reached it."""
    before = max((epoch for epoch in curves[number] if epoch < now), default=0)
    reached = [mark for mark in marks if before < mark <= now]
    if not reached:
        return False
    mark = reached[-1]
    mine = curves[number][now]
    values = [value for curve in curves.values() if (value := _at(curve, mark)) is not None]
    better = sum(value > mine for value in values)
    return better >= max(1, math.floor(len(values) / rule.factor + 1e-9))


def _median(rule: EarlyStopping, number: int, now: int, curves: Curves, _epochs: int) -> bool:
    """The median rule of Vizier (Golovin et al. 2017, section 3.2.2).

    A trial stops whose best so far is below the median of the others' means up to this epoch.
    """
    if now < rule.first_epoch:
        return False
    means = [
        statistics.fmean(value for epoch, value in curve.items() if epoch <= now)
        for other, curve in curves.items()
        if other != number and curve and max(curve) >= now and min(curve) <= now
    ]
    best = max(curves[number].values())
    return len(means) >= FEWEST_OTHERS and best < statistics.median(means)


def _at(curve: Curve, mark: int) -> float | None:
    """The reward at the first epoch told from `mark` on."""
    epoch = min((epoch for epoch in curve if epoch >= mark), default=None)
    return None if epoch is None else curve[epoch]


_RULES = {"asha": _asha, "hyperband": _hyperband, "median": _median}
