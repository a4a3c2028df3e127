"""How a budget is solved: the member of that cost that is nearest to the rule.

1. Find the phi at which the rule itself costs the target (`nearest.Search`).
2. Take the shape nearest to the rule there. Measure what each step away from it costs: a layer more
   or less in one stage, the next rounding of one place's widths. Combine up to three steps with the
   resolution that then meets the target. Rank the combinations by their distance from the rule, and
   measure the best few. Go on from the best of these while the distance falls (`improve`).
3. A dimension whose coefficient is 1 does not change. Only if nothing within the tolerance fits, it
   changes too, and the result says so. Only then, or if limits exclude all near members, look
   farther from the rule (`far`).
"""

from dataclasses import dataclass, replace
from typing import Any

from scaler.budget import Budget
from scaler.compound import MOST, CompoundCoefficients
from scaler.nearest import Search, growth_of
from scaler.shapes import Bounds, Rule, Shapes, factors_of, place_channels
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.resizing import smallest_resolution

DIMENSIONS = ("depth", "width", "resolution")

_MOST_MEASURED = 24  # members whose latency is measured: each takes seconds of real time


@dataclass(frozen=True)
class Solution:
    """A member, the rule's phi nearest to it, and the dimensions changed against the rule."""

    member: Architecture
    phi: float
    moved: tuple[str, ...] = ()


def solve(
    baseline: Architecture,
    budget: Budget,
    *,
    rule: Rule,
    by_hand: bool = False,
    above: Architecture | None = None,
    pixels: int = 1,
) -> Solution:
    """The member that meets the budget and is nearest to the rule.

    With `by_hand` the resolution does not change. The member is in no dimension below `above`, the
    one before it in a family. Resolutions are multiples of `pixels`. Raises InputError with the
    reason if there is none.
    """
    _check(baseline, budget, rule, by_hand=by_hand)
    if above is None and budget.near(baseline):
        return Solution(baseline, 0.0)
    if above is not None and budget.near(above):
        return _solution(baseline, above, rule)
    if budget.cost == "latency":
        return _by_latency(baseline, budget, rule=rule, by_hand=by_hand, above=above, pixels=pixels)
    grows = budget.target >= budget.value(baseline)
    bounds = Bounds(above or (baseline if grows else None), None if grows else baseline)
    own = tuple(value > 1 for _, value in rule.coefficients)
    kept = (own[0], own[1], own[2] and not by_hand)
    freed = (True, True, not by_hand)
    _check_floor(baseline, budget, bounds, freed)
    seen: list[tuple[Architecture, float]] = []
    ways = [(kept, bounds, False), (freed, bounds, False), (freed, bounds, True)]
    if above is None:  # no family: better a little below the baseline than no member at all
        ways.append((freed, Bounds(), True))
    for number, (free, within, far) in enumerate(ways):
        if free == kept and number == 1:
            continue
        search = Search(baseline, budget, rule, within, free, pixels, seen)
        found = search.far() if far else search.near()
        if found is not None:
            return _solution(baseline, found.member, rule, freed=free != kept)
    raise InputError(budget.explain(baseline.name, seen))


def phi_of(baseline: Architecture, budget: Budget, *, rule: Rule, by_hand: bool) -> float:
    """About the phi at which the rule costs the budget's target.

    Raises InputError if no phi changes that cost, or if the smallest member costs more.
    """
    _check(baseline, budget, rule, by_hand=by_hand)
    free = (True, True, not by_hand)
    _check_floor(baseline, budget, Bounds(), free)
    search = Search(baseline, budget, rule, Bounds(), free, 1, [])
    return search.start()


def _check(baseline: Architecture, budget: Budget, rule: Rule, *, by_hand: bool) -> None:
    alpha, beta, gamma = (value for _, value in rule.coefficients)
    flat = CompoundCoefficients(alpha=alpha, beta=beta, gamma=1 if by_hand else gamma)
    if growth_of(flat, budget.cost) <= 1:
        if budget.cost == "peak_ram":
            raise InputError("beta and gamma are 1, so no phi adds RAM; raise one")
        if flat.growth > 1:
            raise InputError("alpha and beta are 1, so no phi adds parameters; raise one")
        all_one = "alpha, beta and gamma are all 1" if gamma == 1 else "alpha and beta are 1"
        raise InputError(f"{all_one}, so no phi adds FLOPs; raise one")
    value = budget.value(baseline)
    if budget.target > MOST * value:
        raise InputError(
            f"{budget.name} {budget.target:g} is over {MOST:,} times the baseline's "
            f"{value:,} {budget.unit}; start from a larger baseline"
        )


def _check_floor(
    baseline: Architecture, budget: Budget, bounds: Bounds, free: tuple[bool, bool, bool]
) -> None:
    shapes = Shapes(baseline, Bounds(bounds.least))
    least = shapes.nearest(1e-9 if free[0] else 1.0, 1e-9 if free[1] else 1.0)
    size = baseline.resolution
    if free[2]:
        size = bounds.least.resolution if bounds.least else smallest_resolution(baseline)
    floor = budget.value(shapes.member(least, size))
    if budget.target < floor and budget.miss(floor) > budget.tolerance:
        raise InputError(
            f"{budget.name} {budget.target:g} is below {floor:,}, "
            f"the cost of the smallest member of '{baseline.name}'"
        )


def _solution(
    baseline: Architecture, member: Architecture, rule: Rule, *, freed: bool = False
) -> Solution:
    """With `freed` dimensions whose coefficient is 1 may change too."""
    phi, _ = rule.nearest(*factors_of(member, baseline))
    same = [
        [stage.layers for stage in member.stages] == [stage.layers for stage in baseline.stages],
        place_channels(member) == place_channels(baseline),
        member.resolution == baseline.resolution,
    ]
    moved = tuple(
        name
        for name, (_, value), stays in zip(DIMENSIONS, rule.coefficients, same, strict=True)
        if freed and value == 1 and not stays
    )
    return Solution(member, float(phi), moved)


def _by_latency(baseline: Architecture, budget: Budget, **options: Any) -> Solution:
    """Solves a latency as FLOPs, by the FLOPs per second of the member found before."""
    assert budget.time_of is not None
    seen: list[tuple[Architecture, float]] = []
    member, solution = baseline, Solution(baseline, 0.0)
    for _ in range(_MOST_MEASURED):
        value = budget.value(member)
        seen.append((member, value))
        if budget.miss(value) <= budget.tolerance and budget.fits(member):
            return solution
        flops = budget.measure(member).flops * budget.target / value
        proxy = replace(budget, cost="flops", target=flops, tolerance=min(0.01, budget.tolerance))
        try:
            solution = solve(baseline, proxy, **options)
            member = solution.member
        except InputError:
            break
        if any(member.key == other.key for other, _ in seen):
            break
    raise InputError(budget.explain(baseline.name, seen))
