"""The confirmation study: the search's best, trained again before one of them is the baseline.

The highest of many short trainings is high by luck too. So the finalists are those that the model
of all trials believes best (see samplers.recommend), stopped ones too. They start anew, all with
the same new seeds, in rounds of fewer networks and longer trainings; the winner is the best by
mean.
"""

import math
from dataclasses import dataclass

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
from experiments.store.trial import (
    Candidate,
    architecture_of,
    best_complete,
    identity_of,
    training_of,
)
from scaler.cost import Cost


def finalists(store: Store, *, top: int) -> dict[str, FrozenTrial]:
    """The `top` distinct trials of highest expected reward, by name: `#12`, or its origin.

    Stopped trials compete by what they are expected to reach, and results that were told (see
    warm_start) too, for here they are trained; but the best finished one of the search's own is
    always among them.
    """
    own = store.trials("search")
    ranked: dict[str, FrozenTrial] = {}
    for trial in _believed([*own, *store.trials("warm_start")]):
        ranked.setdefault(identity_of(trial), trial)
    chosen = list(ranked.values())[:top]
    best = best_complete(own)
    if best is not None and identity_of(best) not in {identity_of(trial) for trial in chosen}:
        chosen[-1] = best
    return {trial.user_attrs.get("origin", f"#{trial.number}"): trial for trial in chosen}


def _believed(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Finished and stopped ones, the highest expected reward first; an accuracy of 0 comes last.

    What each trial's cost made of its accuracy stands on it, so that the model learns accuracies.
    """
    factors = {}
    for trial in trials:
        accuracy, value = trial.user_attrs.get("accuracy"), trial.user_attrs.get("reward")
        if accuracy and value is not None:
            factors[frozenset(trial.params.items())] = value / accuracy
    ranked = recommend(trials, cost=factors, target=1.0, exponent=1.0, stopped=True)
    known = {id(trial) for trial in ranked}
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return ranked + [trial for trial in done if id(trial) not in known]


@dataclass(frozen=True)
class Round:
    """`networks` networks, each trained `seeds` times for `epochs` epochs."""

    networks: int
    seeds: int
    epochs: int

    @property
    def cost(self) -> int:
        """Epochs in all."""
        return self.networks * self.seeds * self.epochs


def rounds(section: ConfirmationSection, *, networks: int, epochs: int, spent: int) -> list[Round]:
    """The rounds that cost at most `share` of the `spent` epochs; none where no two fit.

    First the later rounds are given up, then networks down to two, then seeds down to two.
    """
    epochs = section.epochs or epochs
    most = math.inf if section.share is None else section.share * spent
    plans = [
        _halving(each, seeds, count, epochs)
        for seeds in range(section.seeds, min(2, section.seeds) - 1, -1)
        for each in range(networks, 1, -1)
        for count in range(section.rounds, 0, -1)
    ]
    return next((plan for plan in plans if sum(one.cost for one in plan) <= most), [])


def _halving(networks: int, seeds: int, count: int, epochs: int) -> list[Round]:
    plan = []
    for _ in range(count):
        plan.append(Round(networks, seeds, epochs))
        networks, epochs = min(networks, max(2, math.ceil(networks / 2))), 2 * epochs
    return plan


def epochs_of_search(session: Session) -> int:
    """Epochs that the search has trained; an evaluation that tells none counts as a whole one."""
    whole = session.config.search.epochs
    trials = session.store.trials("search")
    return sum(
        t.user_attrs["epochs"] or (whole if t.state == TrialState.COMPLETE else 0) for t in trials
    )


def plan_text(plan: list[Round], *, spent: int) -> str:
    """How many trainings the confirmation takes, and how much of the search's epochs."""
    told = [f"{one.networks} networks x {one.seeds} seeds of {one.epochs} epochs" for one in plan]
    trainings = sum(one.networks * one.seeds for one in plan)
    in_all = sum(one.cost for one in plan)
    share = f", {100 * in_all / spent:.0f} % of the search's {spent}" if spent else ""
    return f"{', then '.join(told)}: {trainings} trainings, {in_all} epochs in all{share}"


def run_confirmation(session: Session, section: ConfirmationSection) -> FrozenTrial:
    """Train the finalists in rounds; a trial with the network and training that came out first.

    Finalists of an earlier time, before the search was given more trials, compete with what they
    have in the store.
    """
    found = finalists(session.store, top=section.top)
    if len(found) == 1:
        return next(iter(found.values()))
    whole, spent = session.config.search.epochs, epochs_of_search(session)
    plan = rounds(section, networks=len(found), epochs=whole, spent=spent)
    if not plan:
        say(
            f"no confirmation: two networks of two seeds and {section.epochs or whole} epochs are "
            f"more than the share {section.share:g} of the search's {spent} epochs; "
            f"`confirmation.share: null` confirms whatever it costs"
        )
        return _best_finished(session)
    say(f"confirmation: {plan_text(plan, spent=spent)}{_time(session, plan)}")
    going_on = {name: _candidate(name, trial) for name, trial in found.items()}
    for number, one in enumerate(plan, start=1):
        going_on = dict(list(going_on.items())[: one.networks])
        now = train_repeats(
            session,
            "confirmation",
            list(going_on.values()),
            round_=number,
            seeds=new_seeds(session, round_=number, count=one.seeds),
            epochs=one.epochs,
        )
        going_on = {standing.contender: going_on[standing.contender] for standing in now}
    trained = repeated(completed(session, "confirmation"))
    ranked = standings(training for _, training in trained)
    if not ranked:
        raise WorkFailed("no training of the confirmation finished; see `scaler report`")
    say(f"confirmation: {verdict(ranked, of='reward')}")
    return next(trial for trial, one in trained if one.contender == ranked[0].contender)


def _time(session: Session, plan: list[Round]) -> str:
    """About how long the plan takes, as the search's trials tell."""
    ended = [trial.user_attrs for trial in completed(session, "search")]
    trained = sum(attributes["epochs"] for attributes in ended)
    if not trained:
        return ""
    seconds = sum(attributes["seconds"] for attributes in ended) / trained
    return f", about {readable_seconds(seconds * sum(one.cost for one in plan))} of training"


def _best_finished(session: Session) -> FrozenTrial:
    best = best_complete(session.store.trials("search"))
    assert best is not None  # the search saw to it
    return best


def _candidate(name: str, trial: FrozenTrial) -> Candidate:
    """The trial's network anew. Its cost's part of the reward is known and stays as it is."""
    attributes = trial.user_attrs
    accuracy = attributes["accuracy"]
    return Candidate(
        architecture=architecture_of(trial),
        cost=Cost(attributes["flops"], attributes["params"], attributes["activations"]),
        seed=0,  # each repeat has its own
        suggestion=0,
        reward_factor=attributes["reward"] / accuracy if accuracy else 1.0,
        attributes={"contender": name, "search_reward": attributes["reward"]},
        training=training_of(trial),
    )
