"""When a weak trial stops or rests: `EarlyStopper` for a search, and the rungs as pure functions.

A curve is a trial's reward by epoch, a trial's number its suggestion. A continued search reads the
same curves from the store and so decides as the uninterrupted one.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from optuna.trial import FrozenTrial, TrialState

from experiments.config.search_section import EarlyStopping
from experiments.store.trial import Trial

Curve = Mapping[int, float]
Curves = Mapping[int, Curve]

FEWEST_OTHERS = 4  # that have come as far, before the median or the model mean something
_GOLDEN = (math.sqrt(5) - 1) / 2


class EarlyStopper:
    """A search's curves and resting trials under its rule; without a rule nothing ever stops.

    `ended` and `opened` are what the store holds, `new` is how many trials may still begin.
    `chances` tells how probable each open trial is the best, as far as a model can.
    """

    def __init__(
        self,
        rule: EarlyStopping | None,
        *,
        epochs: int,
        ended: list[FrozenTrial],
        opened: list[Trial],
        new: int,
        chances: Callable[[], Mapping[int, float]],
    ) -> None:
        self._rule = rule
        self._chances = chances
        self._epochs = epochs
        self.resting = {t.candidate.suggestion: t for t in opened if t.state == "resting"}
        self._curves: dict[int, Curve] = {
            t.user_attrs.get("suggestion", t.number): t.intermediate_values for t in ended
        }
        self._curves |= {t.candidate.suggestion: t.rewards for t in opened}
        self._most = len(self._curves) + new  # trials that may reach a rung
        self._completed = any(trial.state == TrialState.COMPLETE for trial in ended)

    @property
    def promotes(self) -> bool:
        """Whether a trial that the rule stops rests, as it may be promoted later."""
        return self._rule is not None and self._rule.type == "promotion"

    def begins(self, trial: Trial) -> None:
        """A trial begins on a worker, or goes on; up to where it was promoted its curve counts."""
        if self._rule is None:
            return
        number = trial.candidate.suggestion
        known = self._curves.get(number, {})
        promoted = {epoch: value for epoch, value in known.items() if epoch <= trial.passed}
        self._curves[number] = promoted | trial.rewards

    def stops(self, trial: Trial) -> bool:
        """Whether a trial is to stop, or to rest, after its last epoch."""
        if self._rule is None:
            return False
        self.begins(trial)
        number, passed = trial.candidate.suggestion, trial.passed
        if self._rule.kind == "model":
            return passed < trial.epoch < self._epochs and self._improbable(number, trial.epoch)
        return stops(self._rule, number, curves=self._curves, epochs=self._epochs, passed=passed)

    def rest(self, trial: Trial) -> None:
        """A trial waits at its rung from now on."""
        self.resting[trial.candidate.suggestion] = trial

    def promoted(self) -> Trial | None:
        """The resting trial that goes on now; it rests no longer."""
        if self._rule is None or not self.resting:
            return None
        if self._rule.kind == "model":
            best, chance = self._likeliest()
            return self._goes_on(best) if chance >= self._rule.chance else None
        number = promotable(self._rule, self.resting, curves=self._curves, epochs=self._epochs)
        return None if number is None else self._goes_on(number)

    def last(self) -> Trial | None:
        """When nothing else is left: the best goes on, as a search finishes one trial at least."""
        if self._rule is None or not self.resting or self._completed:
            return None
        if self._rule.kind == "model":
            return self._goes_on(self._likeliest()[0])
        best = leader(self._rule, self.resting, curves=self._curves, epochs=self._epochs)
        return self._goes_on(best)

    def hopeless(self) -> list[Trial]:
        """The resting trials that can no longer be promoted; they rest no longer."""
        assert self._rule is not None
        if self._rule.kind == "model":
            return []  # what the model expects may rise again
        curves, epochs = self._curves, self._epochs
        numbers = hopeless(self._rule, self.resting, curves=curves, epochs=epochs, most=self._most)
        return [self.resting.pop(number) for number in sorted(numbers)]

    def rest_of_them(self) -> list[Trial]:
        """All that rest, by number, as a continued search gives them too; none rests any longer."""
        return [self.resting.pop(number) for number in sorted(self.resting)]

    def ended(self, trial: Trial) -> None:
        """A trial has ended."""
        self._completed |= trial.state == "complete"
        if self._rule is not None:
            self._curves[trial.candidate.suggestion] = trial.rewards

    def _improbable(self, number: int, epoch: int) -> bool:
        """Whether the model gives a trial less than the rule's chance, others having come so far.

        With nothing to compare it with, a trial goes on.
        """
        assert self._rule is not None
        as_far = (n for n, curve in self._curves.items() if max(curve, default=0) >= epoch)
        others = sum(1 for n in islice(as_far, FEWEST_OTHERS + 1) if n != number)
        if epoch < self._rule.first_epoch or others < FEWEST_OTHERS:
            return False
        chance = self._chances().get(number)
        return chance is not None and chance < self._rule.chance

    def _likeliest(self) -> tuple[int, float]:
        """The resting trial that is most probably the best, and how probable that is."""
        chances = self._chances()
        best = max(self.resting, key=lambda number: (chances.get(number, 0.0), -number))
        return best, chances.get(best, 0.0)

    def _goes_on(self, number: int) -> Trial:
        trial = self.resting.pop(number)
        return replace(trial, state="running", passed=trial.epoch)


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
