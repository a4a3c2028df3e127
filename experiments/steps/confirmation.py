"""The confirmation study: the search's best, trained again before one of them is the baseline.

The highest of many short trainings is partly high by luck. So the finalists are those that the
model of all trials expects to be best (see samplers.recommend), also stopped ones. They are trained
from the start, all with the same new seeds, in rounds of fewer networks and longer trainings. The
winner is the best by mean.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial, TrialState

from experiments.config.messages import WorkFailed, say
from experiments.config.search_section import SearchSection
from experiments.config.sections import ConfirmationSection
from experiments.config.units import readable_cost, readable_seconds
from experiments.engine.budgets import TARGET, counts_for
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

Counts = Callable[[FrozenTrial], bool]  # whether a trial's network may be named for a budget


def counting(section: SearchSection, target: float) -> Counts:
    """Which trials count for a target."""
    return lambda trial: counts_for(section, target, trial.user_attrs)


def finalists(
    store: Store,
    *,
    top: int,
    counts: Counts = lambda _: True,
    ranked: Sequence[FrozenTrial] | None = None,
) -> dict[str, FrozenTrial]:
    """The `top` distinct trials of highest expected reward, by name: `#12`, or its origin.

    Stopped trials compete by their expected accuracy, and so do results of earlier runs (see
    warm_start), which are trained here. The search's own best finished trial is always among them.
    Only trials for which `counts` is true; `ranked` is `ranking(store)`, if known already.
    """
    distinct: dict[str, FrozenTrial] = {}
    for trial in filter(counts, ranking(store) if ranked is None else ranked):
        distinct.setdefault(identity_of(trial), trial)
    chosen = list(distinct.values())[:top]
    best = best_complete(list(filter(counts, store.trials("search"))))
    if best is not None and identity_of(best) not in {identity_of(trial) for trial in chosen}:
        chosen[-1] = best
    return {trial.user_attrs.get("origin", f"#{trial.number}"): trial for trial in chosen}


def ranking(store: Store) -> list[FrozenTrial]:
    """Finished and stopped trials, the highest expected reward first; an accuracy of 0 comes last.

    Each trial keeps the factor of its cost in the reward, so the model can learn accuracies.
    """
    trials = [*store.trials("search"), *store.trials("warm_start")]
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
    each: int = field(default=0, compare=False)  # the most networks of a budget

    @property
    def cost(self) -> int:
        """Epochs in all."""
        return self.networks * self.seeds * self.epochs


def rounds(
    section: ConfirmationSection,
    *,
    networks: int,
    epochs: int,
    spent: int,
    budgets: int = 1,
    distinct: Callable[[int], int] | None = None,
) -> list[Round]:
    """The rounds that cost at most `share` of the `spent` epochs; none if no two networks fit.

    First later rounds are dropped, then networks down to two, then seeds down to two. Each of
    several `budgets` has so many `networks`; the first n of each are `distinct(n)` in all. If two
    of each do not fit, one of each is trained, so that its noise is known.
    """
    epochs = section.epochs or epochs
    most = math.inf if section.share is None else section.share * spent
    leasts = (2,) if budgets == 1 else (2, 1)
    plans = [
        _halving(each, seeds, count, epochs, budgets, distinct)
        for least in leasts
        for seeds in range(section.seeds, min(2, section.seeds) - 1, -1)
        for each in range(networks, least - 1, -1)
        for count in range(section.rounds, 0, -1)
    ]
    return next((plan for plan in plans if sum(one.cost for one in plan) <= most), [])


def _halving(
    each: int,
    seeds: int,
    count: int,
    epochs: int,
    budgets: int,
    distinct: Callable[[int], int] | None,
) -> list[Round]:
    plan = []
    most = budgets * each if distinct is None else distinct(each)
    for _ in range(count):
        plan.append(Round(min(most, budgets * each), seeds, epochs, each))
        each, epochs = min(each, max(2, math.ceil(each / 2))), 2 * epochs
    return plan


def epochs_of_search(session: Session) -> int:
    """Epochs that the search has trained; an evaluation without epochs counts as a full one."""
    whole = session.config.search.epochs
    trials = session.store.trials("search")
    return sum(
        t.user_attrs["epochs"] or (whole if t.state == TrialState.COMPLETE else 0) for t in trials
    )


def plan_text(plan: list[Round], *, spent: int) -> str:
    """How many trainings the confirmation takes, and their share of the search's epochs."""
    told = [f"{one.networks} networks x {one.seeds} seeds of {one.epochs} epochs" for one in plan]
    trainings = sum(one.networks * one.seeds for one in plan)
    in_all = sum(one.cost for one in plan)
    share = f", {100 * in_all / spent:.0f} % of the search's {spent}" if spent else ""
    return f"{', then '.join(told)}: {trainings} trainings, {in_all} epochs in all{share}"


def run_confirmation(session: Session, section: ConfirmationSection) -> dict[float, FrozenTrial]:
    """Train the finalists in rounds; returns a trial of the first network for each target.

    A network that is a finalist for several targets is trained once for all. Targets without a
    trial are left out. Finalists from before the search got more trials compete with their stored
    trainings.
    """
    search = session.config.search
    ranked = ranking(session.store)
    found: dict[float, dict[str, FrozenTrial]] = {}
    for target in search.budgets:
        counts = counting(search, target)
        if own := finalists(session.store, top=section.top, counts=counts, ranked=ranked):
            found[target] = own
    every = {name: trial for own in found.values() for name, trial in own.items()}
    if len(every) == 1:
        return {target: next(iter(own.values())) for target, own in found.items()}
    spent = epochs_of_search(session)
    plan = rounds(
        section,
        networks=max(map(len, found.values())),
        epochs=search.epochs,
        spent=spent,
        budgets=len(search.budgets),
        distinct=lambda each: len({name for own in found.values() for name in list(own)[:each]}),
    )
    if not plan:
        say(
            f"no confirmation: two networks of two seeds and {section.epochs or search.epochs} "
            f"epochs are more than the share {section.share:g} of the search's {spent} epochs; "
            f"`confirmation.share: null` confirms at any cost"
        )
        return best_finished(session)
    say(f"confirmation: {plan_text(plan, spent=spent)}{_time(session, plan)}")
    going_on = {target: list(own) for target, own in found.items()}
    for number, one in enumerate(plan, start=1):
        names = [name for own in going_on.values() for name in own[: one.each]]
        now = train_repeats(
            session,
            "confirmation",
            [_candidate(name, every[name]) for name in dict.fromkeys(names)],
            round_=number,
            seeds=new_seeds(session, round_=number, count=one.seeds),
            epochs=one.epochs,
            by_class=True,
        )
        best = [standing.contender for standing in now]
        going_on = {t: [name for name in best if name in own] for t, own in found.items()}
    return _winners(session, list(found))


def _winners(session: Session, targets: list[float]) -> dict[float, FrozenTrial]:
    """For each target the confirmation's first; the best finished trial if none was trained."""
    search = session.config.search
    trained = repeated(completed(session, "confirmation"))
    if not trained:
        raise WorkFailed("no training of the confirmation finished; see `scaler report`")
    winners = best_finished(session)
    for target in targets:
        counts = counting(search, target)
        ranked = standings(training for trial, training in trained if counts(trial))
        if not ranked:
            continue
        of = f" for {readable_cost(search.cost, target)}" if len(search.budgets) > 1 else ""
        say(f"confirmation{of}: {verdict(ranked, of='reward')}")
        first = ranked[0].contender
        winners[target] = next(trial for trial, one in trained if one.contender == first)
    return winners


def _time(session: Session, plan: list[Round]) -> str:
    """About how long the plan takes, estimated from the search's trials."""
    ended = [trial.user_attrs for trial in completed(session, "search")]
    trained = sum(attributes["epochs"] for attributes in ended)
    if not trained:
        return ""
    seconds = sum(attributes["seconds"] for attributes in ended) / trained
    return f", about {readable_seconds(seconds * sum(one.cost for one in plan))} of training"


def best_finished(session: Session) -> dict[float, FrozenTrial]:
    """The finished trial of highest reward for each target that has one."""
    search, trials = session.config.search, session.store.trials("search")
    best = {t: best_complete(list(filter(counting(search, t), trials))) for t in search.budgets}
    return {target: trial for target, trial in best.items() if trial is not None}


def _candidate(name: str, trial: FrozenTrial) -> Candidate:
    """The trial's network, to train again. The factor of its cost in the reward is kept."""
    attributes = trial.user_attrs
    accuracy = attributes["accuracy"]
    of_target = {key: attributes[key] for key in ("cost", TARGET) if TARGET in attributes}
    return Candidate(
        architecture=architecture_of(trial),
        cost=Cost(
            attributes["flops"],
            attributes["params"],
            attributes["activations"],
            attributes.get("peak_ram"),
            attributes.get("flash"),
        ),
        seed=0,  # each repeat has its own
        suggestion=0,
        reward_factor=attributes["reward"] / accuracy if accuracy else 1.0,
        attributes={"contender": name, "search_reward": attributes["reward"], **of_target},
        training=training_of(trial),
    )
