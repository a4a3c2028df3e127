"""Candidates of a sampler over a space."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from experiments.config.search_section import SearchSection
from experiments.config.units import readable_cost
from experiments.engine.budgets import TARGET
from experiments.engine.limits import limits_text
from experiments.engine.suggestions import Suggestions
from experiments.samplers import make_sampler
from experiments.samplers.accuracy_model import Learner
from experiments.samplers.cost_aware import CostAwareSampler
from experiments.samplers.known_cost import KnownCost
from experiments.samplers.optuna_names import replace_trial, reseed
from experiments.samplers.proposing import ProposingSampler
from experiments.samplers.told import THROWN_BACK
from experiments.store.trial import Candidate, Known, Trial, identity_of
from scaler.cost import Cost, measure_cost
from search_spaces.space import SearchSpace

MOST_SLOW = 50  # of one suggestion, where each was measured, a second or two
PATIENCE = 50  # draws of the sampler, of which some propose the same again and again; then a walk
PATIENCE_IN_ORDER = 2_000  # of a grid, as a walk leaves gaps behind
MOST_UNREACHED = 300  # of one suggestion that do not reach the target within the limits: seconds
ASTRAY = 10  # of those outside the limits: a sampler that knows no limits seldom comes back


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
        sizes = {"num_classes": num_classes, "in_channels": in_channels}
        self._suggestions = read = Suggestions(space, section=section, seed=seed, **sizes)
        self._seed = seed
        orderly = section.sampler == "grid"
        self._patience = PATIENCE_IN_ORDER if orderly else PATIENCE
        self._most_astray = PATIENCE_IN_ORDER if orderly else ASTRAY
        self._sizes = sizes
        self._handed_out = max((_suggestion(trial) + 1 for trial in finished), default=0)
        read.seen.update(identity_of(trial) for trial in [*told, *finished])
        objective = read.objective()
        self._sampler = make_sampler(section.sampler, seed=seed, **objective)
        self._learner = Learner(KnownCost(**objective))
        if isinstance(self._sampler, CostAwareSampler):
            self._learner = self._sampler.learner  # each trial is read once for both
        self.ended = ""  # why there were no more
        for trial in finished:
            read.keep_shape(trial.params)
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
        for trial in left:
            self._suggestions.seen.add(trial.candidate.identity)
            self._suggestions.keep_shape(trial.candidate.params)
        self._handed_out = max(self._handed_out, *(number + 1 for number in running))
        return left

    def next(self) -> Candidate | None:
        """The next one; None where the space holds none any more, or none is found.

        With several targets it is for the one whose turn it is, or the next that has networks left.
        """
        turns = self._suggestions.turns
        first = self._handed_out % len(turns)
        for turn in (*turns[first:], *turns[:first]):
            self._suggestions.turn = turn
            if not (turn.ended and len(turns) > 1):
                if (candidate := self._next()) is not None:
                    return candidate
                turn.ended, self.ended = self.ended, ""  # the others may go on
        self.ended = "; ".join(dict.fromkeys(turn.ended for turn in turns))
        return None

    def _next(self) -> Candidate | None:
        read = self._suggestions
        within = read.turn.within
        if isinstance(self._sampler, ProposingSampler):
            self._sampler.cost.window = read.turn.window
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
            proposer = self._proposer(trial) if patient else "walk"
            candidate = read.candidate(trial, proposer=proposer, suggestion=self._handed_out)
            if isinstance(candidate, Candidate):
                self._study.sampler = self._sampler
                self._handed_out += 1
                self._open[candidate.suggestion] = trial
                return candidate
            if not read.pricing.measures:
                trial.set_user_attr(THROWN_BACK, True)
            self._study.tell(trial, state=TrialState.FAIL)
            reason, flops = candidate
            self.screened_by[reason] += 1
            astray += reason in ("outside", "slow")
            unreached += read.brings and reason in ("unreached", "outside")
            slow += [flops] if reason == "slow" and read.pricing.measures else []
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
        turn = self._suggestions.turn
        if turn.target is not None:
            where += f" for the target of {readable_cost(self._section.cost, turn.target)}"
        if turn.within.counted:
            return f"there are no more networks in {where}"
        return f"no more networks were found in {where}"

    def _found(self, *, below: float) -> bool:
        """Whether a walk finds one. Fewer FLOPs are the way out of what was measured as slow."""
        tried = (
            t.params
            for t in self._study.get_trials(deepcopy=False)
            if THROWN_BACK not in t.user_attrs
        )
        read = self._suggestions
        if read.brings:
            return read.turn.within.find(read.turn.shapes, tried=tried) is not None
        return read.turn.within.find(read.seen | read.slow, tried=tried, below=below) is not None

    def _asked(self) -> optuna.Trial:
        """The next trial of the sampler's study; with `at: budget` its target is a parameter too.

        The target is not the sampler's to choose, but its model sees it.
        """
        read = self._suggestions
        waiting = (TrialState.WAITING,)
        if read.by_target and not self._study.get_trials(deepcopy=False, states=waiting):
            self._study.enqueue_trial({TARGET: read.turn.target})
        return self._study.ask()

    def _enqueue(self, params: dict[str, Any], *, turn: int, origin: str) -> None:
        if self._suggestions.by_target:
            turns = self._suggestions.turns
            params = {**params, TARGET: turns[turn % len(turns)].target}
        self._study.enqueue_trial(params, user_attrs={"origin": origin})

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
        turns = self._suggestions.turns
        several = len(turns) > 1 and self._learner.cost.given
        windows = [turn.window for turn in turns] if several else ()
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

    def _proposer(self, trial: optuna.Trial) -> str:
        """What proposed the trial: `model`, `random`, `enqueued`, or the sampler by its name."""
        if "origin" in trial.user_attrs:
            return "enqueued"
        return getattr(self._sampler, "proposed_by", "") or self._section.sampler


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
