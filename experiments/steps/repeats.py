"""Contenders trained again and again: rounds of new seeds, each training once in the store."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from experiments.engine.candidates import ListedCandidates
from experiments.engine.session import Session
from experiments.steps.noise import Standing, Training, standings
from experiments.store.trial import Candidate, identity_of

_NEW_SEEDS = 1_000_000  # beyond those of a search, which count up from the run's seed
_A_ROUND = 1_000


def new_seeds(session: Session, *, round_: int, count: int) -> list[int]:
    """Seeds that no search and no other round trains with; the same for every contender."""
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
) -> list[Standing]:
    """Train each candidate, named by its `contender`, with each seed; how they stand, best first.

    What is in the store already is not trained again; failed trainings are.
    """
    done = {_place(trial.user_attrs, identity_of(trial)) for trial in completed(session, study)}
    # Every contender's first seed before any second: a ranking of all comes soonest.
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


def repeated(trials: Iterable[FrozenTrial]) -> list[tuple[FrozenTrial, Training]]:
    """The trainings of contenders among stored trials; those of older versions had none."""
    return [
        (trial, Training(trial.user_attrs["contender"], trial.user_attrs["round"], trial.value))
        for trial in trials
        if "contender" in trial.user_attrs and trial.value is not None
    ]


def _place_of(candidate: Candidate) -> tuple[Any, ...]:
    return _place({**candidate.attributes, "seed": candidate.seed}, candidate.identity)


def _place(attributes: dict[str, Any], identity: str) -> tuple[Any, ...]:
    """What makes a training the same one, in this session or in the store."""
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
