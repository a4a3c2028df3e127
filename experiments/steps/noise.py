"""Repeated trainings: rounds of new seeds, and whether the first differs from the second by them.

Each training is stored once and is not repeated.

Noise here is that of training: other seeds give other initial weights and another order of the
images. The validation part is the same for all, so its sampling error is not included.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from experiments.engine.candidates import ListedCandidates
from experiments.engine.session import Session
from experiments.store.trial import Candidate, identity_of

LEVEL = 0.05  # a difference counts if chance alone shows it with a lower probability
_NEW_SEEDS = 1_000_000  # above those of a search, which count up from the run's seed
_A_ROUND = 1_000


@dataclass(frozen=True)
class Repeat:
    """One training of a contender: `value` is its reward or accuracy."""

    contender: str
    round: int
    value: float


@dataclass(frozen=True)
class Standing:
    """A contender's trainings in the last round that it reached."""

    contender: str
    round: int
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return float(np.mean(self.values))

    @property
    def spread(self) -> float:
        """The standard deviation with n - 1; NaN for one training."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan

    def describe(self) -> str:
        """`0.9866 ± 0.0021 (n = 4)`: mean, standard deviation, trainings."""
        spread = "" if math.isnan(self.spread) else f" ± {self.spread:.4f}"
        return f"{self.mean:.4f}{spread} (n = {len(self.values)})"


def standings(trainings: Iterable[Repeat]) -> list[Standing]:
    """Best first: by the round reached, then by trainings that finished in it, then by mean.

    So a contender that lost a training ranks behind those that lost none. Equal ones are
    in the order of their names, as the order of their ends is chance.
    """
    by_round: dict[tuple[str, int], list[float]] = defaultdict(list)
    for training in trainings:
        by_round[training.contender, training.round].append(training.value)
    last = {contender: -1 for contender, _ in by_round}
    for contender, number in by_round:
        last[contender] = max(last[contender], number)
    reached = [Standing(c, number, tuple(by_round[c, number])) for c, number in last.items()]
    return sorted(reached, key=lambda s: (-s.round, -len(s.values), -s.mean, s.contender))


@dataclass(frozen=True)
class Difference:
    """A difference of two means, by Welch's two-sided t-test (B. L. Welch, Biometrika 34, 1947).

    `p` and `margin`, half of the 95 % confidence interval, are NaN if the trainings are too few or
    agree to the last digit, so that nothing can be said.
    """

    value: float
    p: float
    margin: float

    @property
    def beyond_noise(self) -> bool:
        """Whether the difference is larger than chance explains, at `LEVEL`."""
        return self.p < LEVEL


def difference(first: Iterable[float], second: Iterable[float]) -> Difference:
    """How far the mean of `first` is above that of `second`, and the test of this difference.

    Not paired by seed: networks of other shapes share no initial weights, and pairing halves the
    degrees of freedom. The first two of several were picked as the highest of them, which narrows
    their gap rather than widens it, so that false alarms are rarer than LEVEL, not more frequent.
    """
    a, b = np.asarray(tuple(first), dtype=float), np.asarray(tuple(second), dtype=float)
    value = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2 or a.var() + b.var() == 0:
        return Difference(value, math.nan, math.nan)
    from scipy import stats  # takes a second to load

    result = stats.ttest_ind(a, b, equal_var=False)
    interval = result.confidence_interval(1 - LEVEL)
    return Difference(value, float(result.pvalue), float(interval.high - interval.low) / 2)


def verdict(ranked: list[Standing], *, of: str) -> str:
    """One or two sentences: which is first, by how much, and whether that is within noise.

    `of` is the name of the figure, as `reward`.
    """
    first = ranked[0]
    leads = f"{first.contender} is first with a mean {of} of {first.describe()}"
    if len(ranked) == 1:
        return f"{leads}; there is no second to compare it with."
    second = ranked[1]
    leads = f"{leads}, then {second.contender} with {second.describe()}"
    if second.round != first.round:
        return f"{leads}, trained in an earlier round only: the two are not compared."
    gap = difference(first.values, second.values)
    if math.isnan(gap.p):
        few = min(len(first.values), len(second.values)) < 2
        why = "from a single training" if few else "as the repeats agree to the last digit"
        return f"{leads}. Whether they differ beyond noise cannot be said {why}."
    test = f"Welch's t-test, p = {gap.p:.2g}"
    if gap.beyond_noise:
        return f"{leads}. They differ beyond noise ({test})."
    return (
        f"{leads}. The difference of {gap.value:.4f} is within noise ({test}); "
        f"with so few trainings only one beyond {gap.margin:.4f} would have stood out."
    )


def new_seeds(session: Session, *, round_: int, count: int) -> list[int]:
    """Seeds that no search and no other round uses; the same for every contender."""
    first = session.config.seed + _NEW_SEEDS + _A_ROUND * round_
    return [first + i for i in range(count)]


def train_repeats(
    session: Session,
    study: str,
    candidates: list[Candidate],
    *,
    round_: int,
    seeds: list[int],
    epochs: int,
    by_class: bool = False,
) -> list[Standing]:
    """Train each candidate, named by its `contender`, with each seed; returns them best first.

    Stored trainings are not repeated, except failed ones.
    """
    done = {_place(trial.user_attrs, identity_of(trial)) for trial in completed(session, study)}
    # Every contender's first seed before any second, to have a ranking of all early.
    pairs = [(candidate, seed) for seed in seeds for candidate in candidates]
    wanted = [
        _with_seed(candidate, round_, seed, _A_ROUND * round_ + place)
        for place, (candidate, seed) in enumerate(pairs)
    ]
    listed = [candidate for candidate in wanted if _place_of(candidate) not in done]
    session.train(
        study,
        ListedCandidates(listed),
        trials=len(listed),
        epochs=epochs,
        done=len(wanted) - len(listed),
        by_class=by_class,
    )
    places = {_place_of(candidate) for candidate in wanted}
    return standings(
        training
        for trial, training in repeated(completed(session, study))
        if _place(trial.user_attrs, identity_of(trial)) in places
    )


def completed(session: Session, study: str) -> list[FrozenTrial]:
    """The study's trials that were trained to their end."""
    return [t for t in session.store.trials(study) if t.state == TrialState.COMPLETE]


def repeated(trials: Iterable[FrozenTrial]) -> list[tuple[FrozenTrial, Repeat]]:
    """The trainings of contenders among stored trials; old versions stored no contender."""
    return [
        (trial, Repeat(trial.user_attrs["contender"], trial.user_attrs["round"], trial.value))
        for trial in trials
        if "contender" in trial.user_attrs and trial.value is not None
    ]


def _place_of(candidate: Candidate) -> tuple[Any, ...]:
    return _place({**candidate.attributes, "seed": candidate.seed}, candidate.identity)


def _place(attributes: dict[str, Any], identity: str) -> tuple[Any, ...]:
    """The identity of a training, equal in this session and in the store."""
    names = ("contender", "baseline", "round", "seed")
    return (identity, *(attributes.get(name) for name in names))


def _with_seed(candidate: Candidate, round_: int, seed: int, suggestion: int) -> Candidate:
    contender = candidate.attributes["contender"]
    slug = re.sub(r"[^A-Za-z0-9.]+", "_", contender).strip("_")
    own = {
        "round": round_,
        "member": f"{candidate.architecture.key}-{slug}-round{round_}-seed{seed}",
        "label": f"{contender} round {round_} seed {seed}",
    }
    return replace(
        candidate, seed=seed, suggestion=suggestion, attributes={**candidate.attributes, **own}
    )
