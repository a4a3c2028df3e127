"""One network a budget: what the several targets of a search let in, checked, and taken in turn.

Trials take the targets in turn. Compared by the formula, a trial may cost as much as its target or
less; with `at: budget` it is scaled to it. The reward is the accuracy, unless an exponent is set;
then it has the same T for all: which of two networks has the higher reward does not depend on T.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.config.search_section import SearchSection
from experiments.config.units import readable_cost, short_cost
from experiments.engine.limits import (
    WithinLimits,
    check_limits,
    flops_at,
    limits_text,
    searched_space,
)
from experiments.engine.pricing import Pricing
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.space import SearchSpace

SLACK = 1.01  # of a target: rounded channels hardly ever meet one exactly
QUARTILES = (0.25, 0.5, 0.75)
TARGET = "target"  # of a trial, with several: whose turn it was; with `at: budget` a parameter too


@dataclass
class Turn:
    """A budget, and what is known of the networks that may be proposed for it."""

    target: float | None  # None where there is only one
    window: tuple[float, float]  # of what counts for it: its cost, or its target (`at: budget`)
    pricing: Pricing
    within: WithinLimits
    shapes: set[str] = field(default_factory=set)  # `at: budget`: what was suggested for it
    ended: str = ""  # why there are no more


def turns(section: SearchSection, space: SearchSpace, *, seed: int, **sizes: int) -> list[Turn]:
    """A turn for each target, by rising target."""
    found, several = [], len(section.budgets) > 1
    for target in section.budgets:
        own = section_for(section, target)
        pricing = walked = Pricing(own, **sizes)
        if section.at == "budget":  # the walk looks at shapes; limits are of what they become
            free = {name: SearchSection.model_fields[name].default for name in own.limits}
            walked = Pricing(own.replace(at="formula", **free), **sizes)
        window = (0.0, math.inf)
        if several:
            window = (target, target) if section.at == "budget" else (0.0, SLACK * target)
        within = WithinLimits(space, walked, **sizes, seed=seed)
        found.append(Turn(target if several else None, window, pricing, within))
    return found


def section_for(section: SearchSection, target: float) -> SearchSection:
    """The search as it is for one of its targets. Raises InputError where limits rule it out."""
    if len(section.budgets) == 1:
        return section
    if section.at == "budget":
        return section.replace(targets=None, front=False, target=target)
    name = f"max_{section.cost}"
    most = min(getattr(section, name), SLACK * target)
    return section.replace(targets=None, front=False, **{name: most})


def counts_for(section: SearchSection, target: float, attributes: Mapping[str, Any]) -> bool:
    """Whether a trial's network may be named for the target: it costs no more, or is scaled to it.

    `attributes` are those of a stored trial; every one counts where there is one target.
    """
    if len(section.budgets) == 1:
        return True
    if section.at == "budget":
        return bool(attributes.get(TARGET) == target)
    cost = attributes.get("cost", attributes.get(section.cost, math.inf))
    return bool(cost <= SLACK * target)


def main_target(section: SearchSection, named: Collection[float]) -> float:
    """Whose network is the baseline: the main target, or the largest of those that have one."""
    return section.known_target if section.known_target in named else max(named)


def file_suffix(section: SearchSection, target: float, *, main: float) -> str:
    """Of the files of a target's network: `_5M`; of the main one's empty."""
    return "" if target == main else f"_{short_cost(section.cost, target)}"


def with_target(section: SearchSection, **sizes: int) -> SearchSection:
    """The section with what it leaves to the space: its target, or (`front`) its targets."""
    if not section.front:
        return section.replace(target=flops_at(section, 0.5, **sizes)[0])
    targets = tuple(sorted(set(flops_at(section, *QUARTILES, **sizes))))
    return section.replace(targets=targets, target=targets[-1])


def check_targets(section: SearchSection, **sizes: int) -> None:
    """Raise InputError where the limits let no network in, or a target is out of reach."""
    if len(section.budgets) == 1:
        check_limits(section, **sizes)
        return
    reach = _reach(section, **sizes) if section.at == "formula" else (0.0, math.inf)
    for target in section.budgets:
        told = readable_cost(section.cost, target)
        if not reach[0] <= SLACK * target <= SLACK * SLACK * reach[1]:
            ends = " to ".join(readable_cost(section.cost, end) for end in reach)
            raise InputError(
                f"space '{section.space}'{limits_text(section)} cannot reach the target of {told}: "
                f"its networks have {ends}; choose targets within that, or change the space"
            )
        try:
            check_limits(section_for(section, target), **sizes)
        except InputError as error:
            raise InputError(f"target of {told}: {error}") from None


def _reach(section: SearchSection, **sizes: int) -> tuple[float, float]:
    """The least and the most that a network of the space costs, within the limits on that cost."""
    space, pricing = searched_space(section), Pricing(section, **sizes)

    def price(network: Architecture) -> float:
        cost = pricing.cost(network)
        return pricing.price(cost, pricing.latency(network, cost))

    ends = space.largest(lambda network: -price(network)), space.largest(price)
    least, most = (section.limits.get(f"{side}_{section.cost}") for side in ("min", "max"))
    return max(price(ends[0]), least or 0.0), min(price(ends[1]), most or math.inf)
