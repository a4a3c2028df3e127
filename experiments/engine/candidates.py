"""Where candidates come from: a sampler over a space, or a list."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from operator import itemgetter
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from experiments.config.search_section import SearchSection
from experiments.config.units import readable_cost
from experiments.engine.budgets import TARGET, Turn, turns
from experiments.engine.limits import limits_text
from experiments.engine.pricing import Pricing
from experiments.samplers import make_sampler
from experiments.samplers.accuracy_model import Learner
from experiments.samplers.cost_aware import CostAwareSampler
from experiments.samplers.known_cost import KnownCost
from experiments.samplers.optuna_names import replace_trial, reseed
from experiments.samplers.proposing import ProposingSampler
from experiments.samplers.told import THROWN_BACK
from experiments.store.trial import Candidate, Known, Trial, identity, identity_of
from scaler.cost import Cost, measure_cost
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.space import SearchSpace

MOST_SLOW = 50  # of one suggestion, where each was measured, a second or two
PATIENCE = 50  # draws of the sampler, of which some propose the same again and again; then a walk
PATIENCE_IN_ORDER = 2_000  # of a grid, as a walk leaves gaps behind
MOST_UNREACHED = 300  # of one suggestion that do not reach the target within the limits: seconds
ASTRAY = 10  # of those outside the limits: a sampler that knows no limits seldom comes back


class Candidates(Protocol):
    """Where a study takes its candidates from, and what it tells of them."""

    @property
    def screened_by(self) -> Counter[str]:
        """Candidates thrown back before any training, by the reason (see progress.SCREENED)."""

    def largest(self) -> Cost | None:
        """Of the network with the most activations, or about so; None where there is no network."""

    def next(self) -> Candidate | None:
        """The next candidate, or None when there is none left."""

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        """What came of a candidate."""

    def report(self, trial: Trial) -> None:
        """How far a trial that runs has come."""

    def chances(self) -> Mapping[int, float]:
        """How probable each trial that has not ended is the best, by suggestion; or nothing."""

    def rest(self, candidate: Candidate, trial: FrozenTrial) -> None:
        """What is known of a candidate that rests; `tell` may follow, if it is promoted."""

    def reopen(self, left: list[Trial]) -> list[Trial]:
        """Those of the trials left open by an earlier driver that are still wanted.

        They are not handed out again by `next`.
        """


class ListedCandidates:
    """A fixed list, each once."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.screened_by: Counter[str] = Counter()
        listed = list(candidates)
        self._costs = [candidate.cost for candidate in listed]
        self._left: Iterator[Candidate] = iter(listed)

    def largest(self) -> Cost | None:
        """Of the list as it was at the start."""
        return max(self._costs, key=lambda cost: cost.activations, default=None)

    def next(self) -> Candidate | None:
        """The next of the list."""
        return next(self._left, None)

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        """Nothing: a list does not depend on what came of its trials."""

    def report(self, trial: Trial) -> None:
        """Nothing, as for `tell`."""

    def chances(self) -> Mapping[int, float]:
        """Nothing: no model is made of a list."""
        return {}

    def rest(self, candidate: Candidate, trial: FrozenTrial) -> None:
        """Nothing, as for `tell`."""

    def reopen(self, left: list[Trial]) -> list[Trial]:
        """Those that are in the list still, and cost and train as they did."""
        listed = list(self._left)
        names = {Trial(candidate).name: candidate for candidate in listed}
        wanted = []
        for trial in left:
            candidate = names.get(trial.name)
            if candidate is not None and _same(candidate, trial.candidate):
                wanted.append(trial)
                listed.remove(candidate)
        self._left = iter(listed)
        return wanted


def _same(listed: Candidate, left: Candidate) -> bool:
    return (
        listed.architecture.key == left.architecture.key
        and listed.seed == left.seed
        and listed.suggestion == left.suggestion
    )


class SampledCandidates:
    """An Optuna sampler's suggestions, costed before any training.

    A suggestion outside the limits, or a network already tried (equal network, not equal
    parameters; with another training it is another), is thrown back and another drawn; after many
    of them a walk looks for one (see limits). `enqueued` parameters come first; `told` results the
    sampler knows, and draws none of them again. With `at: budget` a suggestion is a shape, and the
    candidate is that shape scaled to the target.

    The sampler's study is in memory and repeats the stored one; what was thrown back stands in it
    as failed, which samplers leave out, so that it biases nothing. Every suggestion has random
    numbers of its own, so that a continued search proposes what the uninterrupted one would have,
    given the same trials.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        section: SearchSection,
        seed: int,
        finished: list[FrozenTrial],
        num_classes: int,
        in_channels: int,
        enqueued: Sequence[Known] = (),
        told: Sequence[FrozenTrial] = (),
    ) -> None:
        self.screened_by: Counter[str] = Counter()
        self._space = space
        self._section = section
        self._pricing = Pricing(section, num_classes=num_classes, in_channels=in_channels)
        sizes = {"num_classes": num_classes, "in_channels": in_channels}
        self._turns = turns(section, space, seed=seed, **sizes)
        self._turn = self._turns[0]
        self._brings = section.at == "budget"
        self._by_target = self._brings and len(self._turns) > 1
        self._seed = seed
        orderly = section.sampler == "grid"
        self._patience = PATIENCE_IN_ORDER if orderly else PATIENCE
        self._most_astray = PATIENCE_IN_ORDER if orderly else ASTRAY
        self._sizes = sizes
        self._handed_out = max((_suggestion(trial) + 1 for trial in finished), default=0)
        self._seen = {identity_of(trial) for trial in [*told, *finished]}
        # A sampler asks for the network of a setting, its cost, and whether it is allowed, in turn.
        self._read = lru_cache(maxsize=8)(self._read_anew)
        self._priced = lru_cache(maxsize=8)(self._priced_anew)
        objective = self._objective(section)
        self._sampler = make_sampler(section.sampler, seed=seed, **objective)
        self._learner = Learner(KnownCost(**objective))
        if isinstance(self._sampler, CostAwareSampler):
            self._learner = self._sampler.learner  # each trial is read once for both
        self.ended = ""  # why there were no more
        self._slow: set[str] = set()  # what was measured and is beyond the limit
        for trial in finished if self._brings else ():
            self._turn_of(trial.params).shapes.add(self._shape(trial.params))
        self._told = list(told)
        self._finished = sorted(finished, key=_suggestion)
        self._study = self._repeated([*self._told, *self._finished])
        tried = {trial.user_attrs.get("origin") for trial in finished}
        untried = [known for known in enqueued if known.origin not in tried]
        for turn, known in enumerate(untried, start=self._handed_out):
            self._enqueue(known.params, turn=turn, origin=known.origin)
        self._open: dict[int, optuna.Trial] = {}
        self._resting: dict[int, int] = {}  # suggestion -> number in the sampler's study

    def largest(self) -> Cost:
        """Of the whole space: whether the limits leave it out costs more to know."""
        return measure_cost(
            self._space.largest(lambda network: measure_cost(network, **self._sizes).activations),
            **self._sizes,
        )

    def reopen(self, left: list[Trial]) -> list[Trial]:
        """They stand in the sampler's study where they stood, between those that have ended."""
        if not left:
            return left
        before = self._study.get_trials(deepcopy=False)
        ended = {_suggestion(trial): trial for trial in self._finished}
        running = {trial.candidate.suggestion: _running(trial) for trial in left}
        placed = sorted((ended | running).items())
        since = before[len(self._told) + len(ended) :]
        self._study = self._repeated([*self._told, *(trial for _, trial in placed), *since])
        for number, (suggestion, _) in enumerate(placed, start=len(self._told)):
            if suggestion in running:
                self._open[suggestion] = self._handle(number)
        self._seen.update(trial.candidate.identity for trial in left)
        for params in [trial.candidate.params for trial in left] if self._brings else ():
            self._turn_of(params).shapes.add(self._shape(params))
        self._handed_out = max(self._handed_out, *(number + 1 for number in running))
        return left

    def next(self) -> Candidate | None:
        """The next one; None where the space holds none any more, or none is found.

        With several targets it is for the one whose turn it is, or the next that has networks left.
        """
        first = self._handed_out % len(self._turns)
        for turn in (*self._turns[first:], *self._turns[:first]):
            self._turn = turn
            if not (turn.ended and len(self._turns) > 1):
                if (candidate := self._next()) is not None:
                    return candidate
                turn.ended = self.ended
        return None

    def _next(self) -> Candidate | None:
        within = self._turn.within
        if isinstance(self._sampler, ProposingSampler):
            self._sampler.cost.window = self._turn.window
        for sampler in (self._sampler, within):
            reseed(sampler, (self._seed, self._handed_out))
        slow: list[int] = []  # FLOPs of those that were measured, and are beyond the limit
        astray = unreached = 0
        for draw in count():
            patient = draw < self._patience and astray < self._most_astray
            if not patient and not self._found(below=min(slow, default=math.inf)):
                self.ended = self._no_more()
                return None
            self._study.sampler = self._sampler if patient else within
            trial = self._asked()
            candidate = self._candidate(trial, self._proposer(trial) if patient else "walk")
            if isinstance(candidate, Candidate):
                self._study.sampler = self._sampler
                self._open[candidate.suggestion] = trial
                return candidate
            if not self._pricing.measures:
                trial.set_user_attr(THROWN_BACK, True)
            self._study.tell(trial, state=TrialState.FAIL)
            reason, flops = candidate
            self.screened_by[reason] += 1
            astray += reason in ("outside", "slow")
            unreached += self._brings and reason in ("unreached", "outside")
            slow += [flops] if reason == "slow" and self._pricing.measures else []
            if len(slow) >= MOST_SLOW:
                self.ended = f"{MOST_SLOW} networks in a row were measured as too slow"
                return None
            if unreached >= MOST_UNREACHED:
                limits = " within the limits" if self._section.limits else ""
                self.ended = (
                    f"{MOST_UNREACHED} shapes in a row cannot be scaled to the target{limits}"
                )
                return None
        raise AssertionError("`count` does not end")

    def _no_more(self) -> str:
        limits = limits_text(self._section)
        where = f"space '{self._space.name}'" + (f" within its limits{limits}" if limits else "")
        if self._turn.target is not None:
            where += f" for the target of {readable_cost(self._section.cost, self._turn.target)}"
        if self._turn.within.counted:
            return f"there are no more networks in {where}"
        return f"no more networks were found in {where}"

    def _found(self, *, below: float) -> bool:
        """Whether a walk finds one. Fewer FLOPs are the way out of what was measured as slow."""
        tried = (
            t.params
            for t in self._study.get_trials(deepcopy=False)
            if THROWN_BACK not in t.user_attrs
        )
        turn = self._turn
        if self._brings:
            return turn.within.find(turn.shapes, tried=tried) is not None
        return turn.within.find(self._seen | self._slow, tried=tried, below=below) is not None

    def _asked(self) -> optuna.Trial:
        """The next trial of the sampler's study; with `at: budget` its target is a parameter too.

        The target is not the sampler's to choose, but its model sees it.
        """
        waiting = (TrialState.WAITING,)
        if self._by_target and not self._study.get_trials(deepcopy=False, states=waiting):
            self._study.enqueue_trial({TARGET: self._turn.target})
        return self._study.ask()

    def _enqueue(self, params: dict[str, Any], *, turn: int, origin: str) -> None:
        if self._by_target:
            params = {**params, TARGET: self._turns[turn % len(self._turns)].target}
        self._study.enqueue_trial(params, user_attrs={"origin": origin})

    def _turn_of(self, params: Mapping[str, Any]) -> Turn:
        """Whose shape these parameters are; where there is only one turn, its own."""
        return next((t for t in self._turns if t.target == params.get(TARGET)), self._turn)

    def tell(self, candidate: Candidate, trial: FrozenTrial) -> None:
        """What came of a candidate goes to the sampler, its epochs too."""
        if candidate.suggestion in self._resting:
            replace_trial(self._study, self._resting.pop(candidate.suggestion), trial)
            return
        asked = self._open.pop(candidate.suggestion)
        known = self._in_study(asked.number).intermediate_values
        for step, reached in trial.intermediate_values.items():
            if step not in known:
                asked.report(reached, step)
        if "accuracy" in trial.user_attrs:  # what the model learns, as from a stored trial
            asked.set_user_attr("accuracy", trial.user_attrs["accuracy"])
        value = trial.value if trial.state == TrialState.COMPLETE else None
        self._study.tell(asked, value, state=trial.state)
        if known.items() - trial.intermediate_values.items():  # its evaluation began again
            replace_trial(self._study, asked.number, trial)

    def report(self, trial: Trial) -> None:
        """The sampler learns from its curve so far."""
        suggestion = trial.candidate.suggestion
        if suggestion in self._resting:  # it was promoted: it runs again, as one taken up does
            replace_trial(self._study, self._resting[suggestion], _running(trial))
            return
        asked = self._open[suggestion]
        known = self._in_study(asked.number).intermediate_values
        for step, reached in trial.rewards.items():
            if step not in known:
                asked.report(reached, step)

    def chances(self) -> Mapping[int, float]:
        """By the model of all trials; empty where they tell too little."""
        several = len(self._turns) > 1 and self._learner.cost.given
        windows = [turn.window for turn in self._turns] if several else ()
        trials = self._study.get_trials(deepcopy=False)
        found = self._learner.chances(self._study, trials, windows=windows)
        numbers = {known: asked.number for known, asked in self._open.items()} | self._resting
        return {known: found[number] for known, number in numbers.items() if number in found}

    def _in_study(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def rest(self, candidate: Candidate, trial: FrozenTrial) -> None:
        """The sampler learns from it as from one that was stopped."""
        number = self._resting.get(candidate.suggestion)
        if number is None:
            number = self._open[candidate.suggestion].number
            self.tell(candidate, trial)
            self._resting[candidate.suggestion] = number
        else:
            replace_trial(self._study, number, trial)

    def _repeated(self, trials: list[FrozenTrial]) -> optuna.Study:
        study = optuna.create_study(direction="maximize", sampler=self._sampler)
        study.add_trials(trials)
        return study

    def _handle(self, number: int) -> optuna.Trial:
        return optuna.Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)

    def _objective(self, section: SearchSection) -> dict[str, Any]:
        """What a sampler knows: the cost, unless that is measured, or is the same for all."""
        weighed = {"target": section.known_target, "exponent": section.known_exponent}
        if self._by_target:
            return {"cost": itemgetter(TARGET), **weighed, "network": self._network}
        if self._pricing.measures or self._brings:
            return {"network": self._network}
        return {
            "cost": self._price,
            **weighed,
            "limits": lambda params: self._priced(frozenset(params.items()))[1],
            "network": self._network,
        }

    def _shape(self, params: dict[str, Any]) -> str:
        """Equal for equal networks, as suggested, trained in the same way."""
        return self._read(frozenset(params.items()))[1]

    def _network(self, params: dict[str, Any]) -> str:
        """Equal for what the sampler need not try twice: a shape, and the target that it is for."""
        return f"{self._shape(params)}{params[TARGET] if self._by_target else ''}"

    def _price(self, params: dict[str, Any]) -> float:
        """What a sampler may know before a trial; InputError where the parts do not fit."""
        return self._priced(frozenset(params.items()))[0]

    def _read_anew(self, setting: frozenset[tuple[str, Any]]) -> tuple[Architecture, str]:
        """The network of a setting, and its name."""
        trial = optuna.trial.FixedTrial(dict(setting))
        architecture = self._space.suggest(trial)
        return architecture, identity(architecture.key, self._space.suggest_training(trial))

    def _priced_anew(self, setting: frozenset[tuple[str, Any]]) -> tuple[float, bool]:
        """Its price, and whether it is within the limits."""
        architecture, _ = self._read(setting)
        cost = measure_cost(architecture, **self._sizes)
        latency = self._pricing.latency(architecture, cost)
        allowed = self._pricing.allows(cost) and self._pricing.allows_latency(latency)
        return self._pricing.price(cost, latency), allowed

    def _proposer(self, trial: optuna.Trial) -> str:
        """What proposed the trial: `model`, `random`, `enqueued`, or the sampler by its name."""
        if "origin" in trial.user_attrs:
            return "enqueued"
        return getattr(self._sampler, "proposed_by", "") or self._section.sampler

    def _candidate(self, trial: optuna.Trial, proposer: str) -> Candidate | tuple[str, int]:
        """What the trial picks; or why it is thrown back (see progress.SCREENED), and its FLOPs."""
        turn = self._turn
        if self._by_target:
            trial.suggest_categorical(TARGET, self._section.budgets)
            turn = self._turn_of(trial.params)
        try:
            architecture = self._space.suggest(trial)
            training = self._space.suggest_training(trial)
        except InputError:  # parts that do not fit together, as a stride too many
            return "unfit", 0
        if self._brings:
            turn.shapes.add(identity(architecture.key, training))
        try:
            architecture = turn.pricing.brought(architecture)
        except InputError:
            return "unreached", 0
        cost = measure_cost(architecture, **self._sizes)
        if not turn.pricing.allows(cost):
            return "outside", cost.flops
        name = identity(architecture.key, training)
        if name in self._seen:
            return "repeated", cost.flops
        latency = self._pricing.latency(architecture, cost)
        if not turn.pricing.allows_latency(latency):
            if self._pricing.measures:
                self._slow.add(name)
            return "slow", cost.flops
        self._seen.add(name)
        suggestion = self._handed_out
        self._handed_out += 1
        price = self._pricing.price(cost, latency)
        priced = {"cost": price} | ({} if latency is None else {"latency": latency})
        priced |= {} if turn.target is None else {TARGET: turn.target}
        return Candidate(
            architecture=architecture,
            cost=cost,
            seed=self._seed + suggestion,
            suggestion=suggestion,
            reward_factor=self._pricing.factor(price),
            attributes={**priced, **trial.user_attrs, "proposed_by": proposer},
            params=trial.params,
            distributions=trial.distributions,
            training=training,
        )


def _running(trial: Trial) -> FrozenTrial:
    """A trial on its way, as the sampler's study holds it."""
    return create_trial(
        state=TrialState.RUNNING,
        params=trial.candidate.params,
        distributions=trial.candidate.distributions,
        intermediate_values=trial.rewards,
    )


def _suggestion(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("suggestion", trial.number))
