"""When a weak trial stops or rests: pure functions of the curves in the store.

A curve is a trial's reward by epoch, a trial's number its suggestion. A continued search reads the
same curves and so decides as the uninterrupted one.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from experiments.config.schema import EarlyStopping

Curve = Mapping[int, float]
Curves = Mapping[int, Curve]

FEWEST_OTHERS = 4  # before the median means something
_GOLDEN = (math.sqrt(5) - 1) / 2


def stops(
    rule: EarlyStopping, number: int, *, curves: Curves, epochs: int, passed: int = 0
) -> bool:
    """Whether trial `number` stops, or rests, after the last epoch of its curve, one of `curves`.

    `epochs` is the length of a whole training; its last epoch never stops anything. Up to epoch
    `passed` the trial was promoted already.
    """
    curve = curves[number]
    now = max(curve, default=0)
    if rule.kind == "none" or not passed < now < epochs:
        return False
    return _RULES[rule.kind](rule, number, now, curves, epochs)


def promotable(
    rule: EarlyStopping, resting: Iterable[int], *, curves: Curves, epochs: int
) -> int | None:
    """Which of the resting trials goes on: the best at the highest rung that has one.

    It is among the best 1/factor of those that have reached its rung (arXiv:1810.05934,
    algorithm 2), in Hyperband of its bracket.
    """
    for number, reward, others in _leaders(rule, resting, curves, epochs):
        most = math.floor(len(others) / rule.factor + 1e-9)
        if sum(other > reward for other in others) < most:
            return number
    return None


def leader(rule: EarlyStopping, resting: Iterable[int], *, curves: Curves, epochs: int) -> int:
    """The best of the trials that rest at the highest rung, however few have reached it."""
    return next(_leaders(rule, resting, curves, epochs))[0]


def hopeless(
    rule: EarlyStopping, resting: Iterable[int], *, curves: Curves, epochs: int, most: int
) -> list[int]:
    """The resting trials that will never go on, even if all `most` trials reach their rung.

    So many are better already: their checkpoints need not be kept.
    """
    cut = max(1, math.floor(most / rule.factor + 1e-9))  # the best may be the search's last hope
    found = []
    for number in resting:
        mark, bracket = _rung_of(rule, number, curves, epochs)
        (mine,) = _reached({number: curves[number]}, mark)
        better = sum(v > mine for v in _reached(_peers(rule, curves, bracket, epochs), mark))
        found += [number] * (better >= cut)
    return found


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
    if rule.kind != "hyperband":
        return 0
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
    beside = _peers(rule, curves, mine, epochs)
    return _halves(rule, number, now, beside, list(rungs(rule, epochs, bracket=mine)))


def _halves(rule: EarlyStopping, number: int, now: int, curves: Curves, marks: list[int]) -> bool:
    """Whether the trial, at a rung, is not in the best 1/factor of those that have reached it.

    One that would stop for good goes on where it is the best, however few there are; one that
    rests waits until there are `factor`.
    """
    before = max((epoch for epoch in curves[number] if epoch < now), default=0)
    reached = [mark for mark in marks if before < mark <= now]
    if not reached:
        return False
    mark = reached[-1]
    mine = curves[number][now]
    values = _reached(curves, mark)
    better = sum(value > mine for value in values)
    least = 1 if rule.type == "stopping" else 0
    return better >= max(least, math.floor(len(values) / rule.factor + 1e-9))


def _peers(rule: EarlyStopping, curves: Curves, bracket: int, epochs: int) -> Curves:
    """The curves of a bracket; without brackets all."""
    if rule.kind != "hyperband":
        return curves
    return {n: c for n, c in curves.items() if bracket_of(rule, n, epochs=epochs) == bracket}


def _leaders(
    rule: EarlyStopping, resting: Iterable[int], curves: Curves, epochs: int
) -> Iterator[tuple[int, float, list[float]]]:
    """The best that rests at each rung, the highest first; its reward, and those of all there."""
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number in resting:
        places[_rung_of(rule, number, curves, epochs)].append(number)
    for (mark, bracket), numbers in sorted(places.items(), reverse=True):
        own = {number: _reached({number: curves[number]}, mark)[0] for number in numbers}
        best = max(numbers, key=lambda number: (own[number], -number))
        yield best, own[best], _reached(_peers(rule, curves, bracket, epochs), mark)


def _rung_of(rule: EarlyStopping, number: int, curves: Curves, epochs: int) -> tuple[int, int]:
    """The highest rung that a trial has reached, and its bracket."""
    now, bracket = max(curves[number]), bracket_of(rule, number, epochs=epochs)
    return max(mark for mark in rungs(rule, epochs, bracket=bracket) if mark <= now), bracket


def _reached(curves: Curves, mark: int) -> list[float]:
    """The rewards, at a rung, of all that have come so far."""
    return [value for curve in curves.values() if (value := _at(curve, mark)) is not None]


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
