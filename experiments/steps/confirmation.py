"""The confirmation study: the search's best, trained again before one of them is the baseline.

The highest of many short trainings is high by luck too. So the finalists are those that the model
of all trials believes best (see samplers.recommend). They start anew, all with the same new seeds,
in rounds of fewer networks and longer trainings; the winner is the best by mean.
"""

import math

from optuna.trial import FrozenTrial, TrialState

from experiments.config.messages import WorkFailed, say
from experiments.config.sections import ConfirmationSection
from experiments.config.units import readable_seconds
from experiments.engine.session import Session
from experiments.samplers import recommend
from experiments.steps.noise import (
    completed,
    new_seeds,
    repeated,
    standings,
    train_repeats,
    verdict,
)
from experiments.store.store import Store
from experiments.store.trial import Candidate, architecture_of, identity_of, training_of
from scaler.cost import Cost


def finalists(store: Store, *, top: int) -> dict[str, FrozenTrial]:
    """The `top` distinct trials of highest expected reward, by name: `#12`, or its origin.

    Results that were told (see warm_start) compete too, for here they are trained; but the best
    observed of the search's own is always among them.
    """
    own = store.trials("search")
    done = [t for t in own if t.state == TrialState.COMPLETE]
    ranked: dict[str, FrozenTrial] = {}
    for trial in _believed([*own, *store.trials("warm_start")]):
        ranked.setdefault(identity_of(trial), trial)
    chosen = list(ranked.values())[:top]
    best = max(done, key=_value, default=None)
    if best is not None and identity_of(best) not in {identity_of(trial) for trial in chosen}:
        chosen[-1] = best
    return {trial.user_attrs.get("origin", f"#{trial.number}"): trial for trial in chosen}


def _believed(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The finished ones, the highest expected reward first; an accuracy of 0 comes last.

    What each trial's cost made of its accuracy stands on it, so that the model learns accuracies.
    """
    factors = {}
    for trial in trials:
        accuracy, value = trial.user_attrs.get("accuracy"), trial.user_attrs.get("reward")
        if accuracy and value is not None:
            factors[frozenset(trial.params.items())] = value / accuracy
    ranked = recommend(trials, cost=factors, target=1.0, exponent=1.0)
    known = {id(trial) for trial in ranked}
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return ranked + [trial for trial in done if id(trial) not in known]


def confirmation_plan(session: Session, section: ConfirmationSection, *, networks: int) -> str:
    """How many trainings the confirmation takes, of how many epochs, and about how long.

    The time is told once the search has trials to judge by.
    """
    epochs = section.epochs or session.config.search.epochs
    rounds, trainings, in_all = [], 0, 0
    for _ in range(section.rounds):
        rounds.append(f"{networks} networks x {section.seeds} seeds of {epochs} epochs")
        trainings += networks * section.seeds
        in_all += networks * section.seeds * epochs
        networks, epochs = min(networks, max(2, math.ceil(networks / 2))), 2 * epochs
    ended = [trial.user_attrs for trial in completed(session, "search")]
    trained = sum(attributes["epochs"] for attributes in ended)
    seconds = sum(attributes["seconds"] for attributes in ended)
    took = f", about {readable_seconds(seconds / trained * in_all)} of training" if trained else ""
    return f"{', then '.join(rounds)}: {trainings} trainings, {in_all} epochs in all{took}"


def run_confirmation(session: Session, section: ConfirmationSection) -> FrozenTrial:
    """Train the finalists in rounds; a trial with the network and training that came out first.

    Finalists of an earlier time, before the search was given more trials, compete with what they
    have in the store.
    """
    found = finalists(session.store, top=section.top)
    if len(found) == 1:
        return next(iter(found.values()))
    say(f"confirmation: {confirmation_plan(session, section, networks=len(found))}")
    going_on = {name: _candidate(name, trial) for name, trial in found.items()}
    epochs = section.epochs or session.config.search.epochs
    for number in range(1, section.rounds + 1):
        now = train_repeats(
            session,
            "confirmation",
            list(going_on.values()),
            round_=number,
            seeds=new_seeds(session, round_=number, count=section.seeds),
            epochs=epochs * 2 ** (number - 1),
        )
        best_half = [standing.contender for standing in now[: max(2, math.ceil(len(now) / 2))]]
        going_on = {name: going_on[name] for name in best_half}
    trained = repeated(completed(session, "confirmation"))
    ranked = standings(training for _, training in trained)
    if not ranked:
        raise WorkFailed("no training of the confirmation finished; see `scaler report`")
    say(f"confirmation: {verdict(ranked, of='reward')}")
    return next(trial for trial, one in trained if one.contender == ranked[0].contender)


def _candidate(name: str, trial: FrozenTrial) -> Candidate:
    """The trial's network anew. Its cost's part of the reward is known and stays as it is."""
    attributes = trial.user_attrs
    accuracy = attributes["accuracy"]
    return Candidate(
        architecture=architecture_of(trial),
        cost=Cost(attributes["flops"], attributes["params"], attributes["activations"]),
        seed=0,  # each repeat has its own
        suggestion=0,
        reward_factor=_value(trial) / accuracy if accuracy else 1.0,
        attributes={"contender": name, "search_reward": _value(trial)},
        training=training_of(trial),
    )


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value
