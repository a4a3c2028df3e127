"""Draws networks within a search's limits, also where random draws hardly ever meet one.

A walk begins at a random setting, changes a choice or two at a time, and takes each change that
leads no further outside. The cost is known before any training: a look takes a millisecond or two.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from experiments.config.search_section import SearchSection
from experiments.config.units import NAMES, readable_cost
from experiments.engine.pricing import Pricing
from experiments.samplers.proposing import Params, ProposingSampler
from experiments.store.trial import identity
from scaler.cost import SAMPLE, Cost
from search_spaces.records import InputError
from search_spaces.space import SearchSpace, load_space

COUNTABLE = 4_000  # settings: a space of so many is looked at whole, which takes a few seconds
LOOKS = 2_000  # of one walk at most
STALE = 100  # looks that lead nowhere; then the walk begins elsewhere
MIXING = 20  # looks within the limits: where a walk comes in, it stands close to a limit
SHAPES = 30  # random members that are tried before a search at the budget begins
FEW = 20  # networks of which a median is still of use
STARTS = 5  # of the way to the nearest network


@dataclass(frozen=True)
class Spot:
    """A setting that was looked at. `excess` is 0 within the limits (see Pricing.excess)."""

    params: dict[str, Any]
    options: dict[str, Sequence[Any]]
    excess: float = math.inf  # of parts that do not fit together
    cost: Cost = field(default=Cost(0, 0, 0))
    latency: float | None = None
    identity: str = ""


class WithinLimits(ProposingSampler):
    """Proposes what `find` found. It knows a space's options, which Optuna's samplers do not."""

    def __init__(
        self, space: SearchSpace, pricing: Pricing, *, num_classes: int, in_channels: int, seed: int
    ) -> None:
        super().__init__(seed=seed)
        self._space = space
        self._pricing = pricing
        self._sizes = {"num_classes": num_classes, "in_channels": in_channels}
        self.counted = space.size() <= COUNTABLE
        self._all: dict[str, Spot] | None = None
        self._found: Params = {}

    def propose(
        self,
        study: optuna.Study,  # noqa: ARG002
        others: Sequence[FrozenTrial],  # noqa: ARG002
    ) -> Params:
        """What `find` found last."""
        return self._found

    def find(
        self, taken: Collection[str], *, tried: Iterable[Params] = (), below: float = math.inf
    ) -> Params | None:
        """A setting within the limits; None where there is none, or none is found.

        Its `Candidate.identity` is not among `taken`, and it has fewer than `below` FLOPs. Where
        walks find nothing, all settings are looked at that differ in one choice from the `tried`.
        """
        found = self.spot(taken, tried=tried, below=below)
        self._found = {} if found is None else found.params
        return None if found is None else found.params

    def spot(
        self, taken: Collection[str], *, tried: Iterable[Params] = (), below: float = math.inf
    ) -> Spot | None:
        """What `find` finds, with its cost."""
        if not self.counted:
            return self._walked(taken, below) or self._beside(taken, tried, below)
        fitting = [
            spot
            for name, spot in self._within().items()
            if name not in taken and spot.cost.flops < below
        ]
        return fitting[self.rng.integers(len(fitting))] if fitting else None

    def nearest(self) -> Spot:
        """The setting that is least outside the limits, of a large space the least that is found.

        Every choice in turn takes its best option, until none helps.
        """
        if self.counted:
            return min(self._settings(), key=lambda spot: spot.excess)
        return min((self._descended() for _ in range(STARTS)), key=lambda spot: spot.excess)

    def _within(self) -> dict[str, Spot]:
        if self._all is None:
            self._all = {spot.identity: spot for spot in self._settings() if spot.excess == 0}
        return self._all

    def _settings(self) -> Iterator[Spot]:
        """Each setting of the space once."""
        pending: list[Params] = [{}]
        while pending:
            wish = pending.pop()
            spot = self._look(wish, first=True)
            yield spot
            names = list(spot.params)
            for at in range(len(wish), len(names)):
                before = {name: spot.params[name] for name in names[:at]}
                others = spot.options[names[at]][1:]
                pending += [{**before, names[at]: option} for option in others]

    def _walked(self, taken: Collection[str], below: float) -> Spot | None:
        at, found, stale, inside = self._look({}, below=below), None, 0, 0
        for _ in range(LOOKS):
            if stale > STALE:
                at, stale = self._look({}, below=below), 0
            near = self._look(self._changed(at), below=below)
            stale = 0 if near.excess < at.excess else stale + 1
            if near.excess <= at.excess:
                at = near
            if at.excess == 0:
                inside += 1
                found = at if at.identity not in taken else found
            if found is not None and inside >= MIXING:
                break
        return found

    def _beside(self, taken: Collection[str], tried: Iterable[Params], below: float) -> Spot | None:
        for params in tried:
            for near in self._neighbours(self._look(params), below):
                if near.excess == 0 and near.identity not in taken:
                    return near
        return None

    def _descended(self) -> Spot:
        at, before = self._look({}), None
        while at is not before:
            before = at
            for name in before.params:
                near = self._neighbours(at, names=[name])
                at = min([at, *near], key=lambda spot: spot.excess)
        return at

    def _neighbours(
        self, at: Spot, below: float = math.inf, names: Iterable[str] | None = None
    ) -> Iterator[Spot]:
        """All that differ in one choice, and in what depends on it."""
        for name in at.params if names is None else names:
            for option in at.options.get(name, ()):
                if option != at.params[name]:
                    yield self._look({**at.params, name: option}, below=below)

    def _changed(self, at: Spot) -> Params:
        """One choice drawn anew or, half as often each, more: single ones miss narrow windows."""
        wish, names = dict(at.params), list(at.params)
        for _ in range(int(self.rng.geometric(0.5))):
            name = names[self.rng.integers(len(names))]
            wish[name] = at.options[name][int(self.rng.integers(len(at.options[name])))]
        return wish

    def _look(self, wish: Params, *, first: bool = False, below: float = math.inf) -> Spot:
        """The setting as wished; what the wish lacks is the `first` option, or drawn."""
        asked = _Asked(wish, None if first else self.rng)
        try:
            architecture = self._space.suggest(asked)
            training = self._space.suggest_training(asked)
        except InputError:
            return Spot(asked.picked, asked.options)
        cost = self._pricing.cost(architecture)
        latency = None if self._pricing.measures else self._pricing.latency(architecture, cost)
        excess = self._pricing.excess(cost, latency)
        if cost.flops >= below:
            excess += 1 + math.log(cost.flops / below)
        name = identity(architecture.key, training)
        return Spot(asked.picked, asked.options, excess, cost, latency, name)


class _Asked(optuna.trial.FixedTrial):
    """A trial that notes what it is asked for, and answers as wished."""

    def __init__(self, wish: Params, rng: np.random.Generator | None) -> None:
        super().__init__({})
        self._wish, self._rng = wish, rng
        self.picked: dict[str, Any] = {}
        self.options: dict[str, Sequence[Any]] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The wish, else the first or a drawn one."""
        if name in self._wish and self._wish[name] in choices:
            picked = self._wish[name]
        else:
            picked = choices[0 if self._rng is None else int(self._rng.integers(len(choices)))]
        self.picked[name], self.options[name] = picked, choices
        return picked


def searched_space(section: SearchSection) -> SearchSpace:
    """The section's space at the section's resolution."""
    space = load_space(section.space)
    return space if section.resolution is None else space.at(section.resolution)


def flops_at(
    section: SearchSection, *shares: float, num_classes: int, in_channels: int
) -> list[float]:
    """The FLOPs that these shares of the space's networks within the limits do not exceed.

    To two digits; 0.5 is the median.

    Of random ones; where few of them lie within, of those that walks find. The same for every seed
    of a run. A latency that has to be measured is not looked at. Raises InputError where no network
    lies within the limits.
    """
    space = searched_space(section)
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    pricing = Pricing(section, **sizes)
    flops = []
    for member in space.members(SAMPLE, seed=0):
        cost = pricing.cost(member)
        latency = None if pricing.measures else pricing.latency(member, cost)
        if pricing.excess(cost, latency) == 0:
            flops.append(cost.flops)
    if len(flops) < FEW:
        walks, found = WithinLimits(space, pricing, **sizes, seed=0), dict[str, int]()
        while len(found) < FEW and (spot := walks.spot(found)) is not None:
            found[spot.identity] = spot.cost.flops
        flops = list(found.values())
        if not flops:
            raise _none_within(walks, section)
    values = [float(value) for value in np.quantile(flops, shares)]
    rounded = [float(f"{value:.2g}") for value in values]
    return [
        near if section.min_flops <= near <= section.max_flops else value
        for near, value in zip(rounded, values, strict=True)
    ]


def limits_text(section: SearchSection) -> str:
    """`(max_flops 1.5e+06, max_params 20000)`; empty where there is no limit."""
    told = ", ".join(f"{name} {value:g}" for name, value in section.limits.items())
    return f" ({told})" if told else ""


def check_limits(section: SearchSection, *, num_classes: int, in_channels: int) -> None:
    """Raise InputError where no network of the space lies within the limits.

    A latency that has to be measured is not looked at. With `at: budget`: where none of some
    random ones can be scaled to the target within the limits.
    """
    if not section.limits and section.at == "formula":
        return
    space = searched_space(section)
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    if section.at == "budget":
        _check_budget(space, section, **sizes)
        return
    within = WithinLimits(space, Pricing(section, **sizes), **sizes, seed=0)
    if within.find(()) is None:
        raise _none_within(within, section)


def _none_within(within: WithinLimits, section: SearchSection) -> InputError:
    return InputError(
        f"no network of space '{section.space}' lies within its limits{limits_text(section)}: "
        f"{_nearest_text(within, section)}; widen them, or change the space"
    )


def _check_budget(space: SearchSpace, section: SearchSection, **sizes: int) -> None:
    pricing, reason = Pricing(section, **sizes), ""
    for shape in space.members(SHAPES, seed=0):
        try:
            cost = pricing.cost(pricing.brought(shape))
        except InputError as error:
            reason = str(error)
            continue
        if pricing.allows(cost):
            return
        reason = f"scaled to it, the last has {_values_text(cost, _limited(section))}"
        reason += f", but the limits are{limits_text(section)}"
    raise InputError(
        f"none of {SHAPES} random networks of space '{space.name}' can be scaled to the target of "
        f"{readable_cost(section.cost, section.known_target)}: {reason}"
    )


def _nearest_text(within: WithinLimits, section: SearchSection) -> str:
    nearest = within.nearest()
    if nearest.excess == math.inf:
        return "no network that was looked at has parts that fit together"
    costs = _limited(section)
    only_max = len(costs) == 1 and "min_flops" not in section.limits
    which = "cheapest" if only_max else "nearest"
    whose = f"its {which} has" if within.counted else f"the {which} found has"
    return f"{whose} {_values_text(nearest.cost, costs, nearest.latency)}"


def _limited(section: SearchSection) -> list[str]:
    """The costs that have a limit."""
    return list(dict.fromkeys(name.split("_", 1)[1] for name in section.limits))


def _values_text(cost: Cost, names: Sequence[str], latency: float | None = None) -> str:
    values = [
        readable_cost(name, latency)
        if name == "latency" and latency is not None
        else f"{getattr(cost, name):,} {NAMES[name]}"
        for name in names
        if name != "latency" or latency is not None
    ]
    return " and ".join(values)
