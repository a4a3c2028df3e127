"""What a suggestion stands for: its network, its cost, and whether it may be a candidate."""

from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any

import optuna

from experiments.config.search_section import SearchSection
from experiments.engine.budgets import TARGET, Turn, turns
from experiments.engine.pricing import Pricing
from experiments.store.trial import Candidate, identity
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.space import SearchSpace


class Suggestions:
    """Reads what a sampler suggests: parameters in, a priced candidate out, or why there is none.

    With `at: budget` a suggestion is a shape, and the candidate is that shape scaled to the target
    of the turn. `seen` are the names of networks that have been tried; `slow` those that were
    measured as beyond the limit.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        section: SearchSection,
        seed: int,
        num_classes: int,
        in_channels: int,
    ) -> None:
        self._space = space
        self._section = section
        self._seed = seed
        self._sizes = sizes = {"num_classes": num_classes, "in_channels": in_channels}
        self.pricing = Pricing(section, **sizes)
        self.turns = turns(section, space, seed=seed, **sizes)
        self.turn = self.turns[0]
        self.brings = section.at == "budget"
        self.by_target = self.brings and len(self.turns) > 1
        self.seen: set[str] = set()
        self.slow: set[str] = set()
        # A sampler asks for the network of a setting, its cost, and whether it is allowed, in turn.
        self._read = lru_cache(maxsize=8)(self._read_anew)
        self._priced = lru_cache(maxsize=8)(self._priced_anew)

    def objective(self) -> dict[str, Any]:
        """What a sampler knows: the cost, unless that is measured, or is the same for all."""
        weighed = {"target": self._section.known_target, "exponent": self._section.known_exponent}
        if self.by_target:
            return {"cost": itemgetter(TARGET), **weighed, "network": self._network}
        if self.pricing.measures or self.brings:
            return {"network": self._network}
        return {
            "cost": self._price,
            **weighed,
            "limits": lambda params: self._priced(frozenset(params.items()))[1],
            "network": self._network,
        }

    def keep_shape(self, params: dict[str, Any]) -> None:
        """With `at: budget`: these parameters were suggested, in this run or before."""
        if self.brings:
            self.turn_of(params).shapes.add(self.shape(params))

    def turn_of(self, params: Mapping[str, Any]) -> Turn:
        """Whose shape these parameters are; where there is only one turn, its own."""
        return next((t for t in self.turns if t.target == params.get(TARGET)), self.turn)

    def shape(self, params: dict[str, Any]) -> str:
        """Equal for equal networks, as suggested, trained in the same way."""
        return self._read(frozenset(params.items()))[1]

    def _network(self, params: dict[str, Any]) -> str:
        """Equal for what the sampler need not try twice: a shape, and the target that it is for."""
        return f"{self.shape(params)}{params[TARGET] if self.by_target else ''}"

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
        cost = self.pricing.cost(architecture)
        latency = self.pricing.latency(architecture, cost)
        allowed = self.pricing.allows(cost) and self.pricing.allows_latency(latency)
        return self.pricing.price(cost, latency), allowed

    def candidate(
        self, trial: optuna.Trial, *, proposer: str, suggestion: int
    ) -> Candidate | tuple[str, int]:
        """What the trial picks; or why it is thrown back (see progress.SCREENED), and its FLOPs."""
        turn = self.turn
        if self.by_target:
            trial.suggest_categorical(TARGET, self._section.budgets)
            turn = self.turn_of(trial.params)
        try:
            architecture = self._space.suggest(trial)
            training = self._space.suggest_training(trial)
        except InputError:  # parts that do not fit together, as a stride too many
            return "unfit", 0
        if self.brings:
            turn.shapes.add(identity(architecture.key, training))
        try:
            architecture = turn.pricing.brought(architecture)
        except InputError:
            return "unreached", 0
        cost = self.pricing.cost(architecture)
        if "origin" in trial.user_attrs and not self.brings:  # known: for whichever lets it in
            turn = next((one for one in self.turns if one.pricing.allows(cost)), turn)
        if not turn.pricing.allows(cost):
            return "outside", cost.flops
        name = identity(architecture.key, training)
        if name in self.seen:
            return "repeated", cost.flops
        latency = self.pricing.latency(architecture, cost)
        if not turn.pricing.allows_latency(latency):
            if self.pricing.measures:
                self.slow.add(name)
            return "slow", cost.flops
        self.seen.add(name)
        price = self.pricing.price(cost, latency)
        priced = {"cost": price} | ({} if latency is None else {"latency": latency})
        priced |= {} if turn.target is None else {TARGET: turn.target}
        return Candidate(
            architecture=architecture,
            cost=cost,
            seed=self._seed + suggestion,
            suggestion=suggestion,
            reward_factor=self.pricing.factor(price),
            attributes={**priced, **trial.user_attrs, "proposed_by": proposer},
            params=trial.params,
            distributions=trial.distributions,
            training=training,
        )
