"""The coefficients study: which alpha, beta, gamma grow a baseline best.

The paper compares settings with alpha * beta^2 * gamma^2 near 2 at phi = 1 (arXiv:1905.11946,
section 3.3). After rounding of layers, channels and pixels these cost from 1.5 to 3 times the
baseline, and the most expensive wins by its cost. So each direction is scaled to the same measured
FLOPs instead; the paper's rule is an option.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from experiments.config.messages import WorkFailed, say
from experiments.config.sections import CoefficientsSection
from experiments.engine.session import Session
from experiments.steps.noise import (
    Standing,
    completed,
    new_seeds,
    repeated,
    standings,
    train_repeats,
    verdict,
)
from experiments.store.trial import Candidate, identity_of
from scaler.compound import CompoundCoefficients
from scaler.cost import measure_cost
from scaler.scaled import Scaled, scale_to_flops, scaled_by_phi
from search_spaces.architecture import Architecture
from search_spaces.records import InputError

# Share of growth: a network with more growth in other dimensions does not represent its direction.
# On the grid of step .1 the nearest other direction is .17 away (the median): up to about half of
# that, a network has the name of the nearest direction.
MOST_STRAY = 0.1
MOST_TOLD = 12  # left-out directions with a line each; the table holds all
GROWTH = 2.0  # alpha * beta^2 * gamma^2, arXiv:1905.11946, equation 3


@dataclass(frozen=True)
class Dropped:
    """A direction that is not trained, and why."""

    alpha: float
    beta: float
    gamma: float
    reason: str
    same: bool = False  # another direction gives the same network


def coefficient_grid(*, step: float, tolerance: float) -> list[CompoundCoefficients]:
    """All (alpha, beta, gamma) on a grid from 1 with alpha * beta^2 * gamma^2 near 2.

    Raises InputError if the grid has none within `tolerance`.
    """
    marks = [1 + i * step for i in range(int(1 / step + 1e-9) + 1)]
    grid = [
        CompoundCoefficients(alpha=round(a, 9), beta=round(b, 9), gamma=round(g, 9))
        for a, b, g in product(marks, repeat=3)
        if abs(a * b**2 * g**2 - GROWTH) <= tolerance + 1e-9
    ]
    if not grid:
        raise InputError(
            f"no alpha, beta, gamma on a grid of step {step:g} has alpha * beta^2 * gamma^2 within "
            f"{tolerance:g} of 2; take a finer step or a wider tolerance"
        )
    return grid


def run_coefficients(session: Session, baseline: Architecture) -> CompoundCoefficients:
    """Train each direction once, the leaders with new seeds; write and return the winner.

    Raises InputError if no direction can be scaled to the target, WorkFailed if no training
    finished.
    """
    section = session.config.coefficients
    members, dropped = grown_members(baseline, section, **session.sizes)
    note = {"baseline": baseline.key, "directions": [asdict(each) for each in dropped]}
    session.store.note("coefficients", "dropped", note)
    _tell_dropped(dropped, trained=len(members))
    candidates = {
        candidate.attributes["contender"]: candidate
        for candidate in _candidates(session, section, baseline, members)
    }
    first = train_repeats(
        session,
        "coefficients",
        list(candidates.values()),
        round_=1,
        seeds=[session.config.seed],
        epochs=section.epochs,
    )
    leaders = [candidates[standing.contender] for standing in first[: section.leaders]]
    if len(leaders) > 1:
        train_repeats(
            session,
            "coefficients",
            leaders,
            round_=2,
            seeds=new_seeds(session, round_=2, count=section.seeds),
            epochs=section.epochs,
        )
    ranked = _ranked(session, baseline, candidates)
    if not ranked:
        raise WorkFailed("no training of the coefficients grid finished; see `scaler report`")
    say(f"coefficients: {verdict(ranked, of=session.judged)}")
    (chosen,) = [pair for pair in members if _label(pair[0]) == ranked[0].contender]
    coefficients, winner = chosen
    say(f"coefficients: {_label(coefficients)} was trained as {_reached(winner)}")
    session.folder.write_coefficients(coefficients)
    return coefficients


def grown_members(
    baseline: Architecture, section: CoefficientsSection, *, num_classes: int, in_channels: int
) -> tuple[list[tuple[CompoundCoefficients, Scaled]], list[Dropped]]:
    """The baseline grown along each direction of the grid, and the directions left out.

    Small networks grow in coarse steps, so the network that meets the target may be far from its
    direction; then it is left out. If several directions give one network, the direction nearest
    to it is kept. Raises InputError if none is left.
    """
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    flops = measure_cost(baseline, **sizes).flops
    grown, dropped = [], []
    for direction in coefficient_grid(step=section.step, tolerance=section.tolerance):
        try:
            member = _grown(baseline, direction, section, flops=flops, **sizes)
            stray = _stray(member, direction)
            if member.moved or stray > MOST_STRAY:
                moved = f" ({' and '.join(member.moved)} moved)" if member.moved else ""
                raise InputError(f"off its direction{moved}: it would be {_reached(member)}")
        except InputError as error:
            dropped.append(Dropped(**direction.model_dump(), reason=str(error)))
        else:
            grown.append((stray, direction, member))
    if not grown:
        raise InputError(
            f"none of {len(dropped)} directions can be scaled; the first: {dropped[0].reason}; "
            f"take a larger coefficients.flops_tolerance or coefficients.target_ratio"
        )
    nearest: dict[str, tuple[CompoundCoefficients, Scaled]] = {}
    for _, direction, member in sorted(grown, key=lambda one: one[0]):
        key = member.architecture.key
        if key in nearest:
            same = nearest[key][0]
            reason = f"comes to the same network as {_label(same)}"
            dropped.append(Dropped(**direction.model_dump(), reason=reason, same=True))
        else:
            nearest[key] = (direction, member)
    order = {direction: place for place, (_, direction, _) in enumerate(grown)}
    return sorted(nearest.values(), key=lambda pair: order[pair[0]]), dropped


def _grown(
    baseline: Architecture,
    direction: CompoundCoefficients,
    section: CoefficientsSection,
    *,
    flops: int,
    num_classes: int,
    in_channels: int,
) -> Scaled:
    if section.rule == "phi":
        return scaled_by_phi(
            baseline,
            phi=section.phi,
            coefficients=direction,
            num_classes=num_classes,
            in_channels=in_channels,
        )
    return scale_to_flops(
        baseline,
        target_flops=section.target_ratio * flops,
        coefficients=direction,
        tolerance=section.flops_tolerance,
        limits=section.limits,
        num_classes=num_classes,
        in_channels=in_channels,
    )


def _reached(member: Scaled) -> str:
    depth, width, resolution = member.reached_factors()
    return (
        f"depth {depth:.2f}, width {width:.2f}, resolution {resolution:.2f} times the baseline's, "
        f"at {member.cost.flops:,} FLOPs"
    )


def _tell_dropped(dropped: list[Dropped], *, trained: int) -> None:
    same = sum(each.same for each in dropped)
    say(
        f"coefficients: {trained} directions to train; {same} more come to the same networks, and "
        f"{len(dropped) - same} are left out"
    )
    told = [each for each in dropped if not each.same]
    for each in told[:MOST_TOLD]:
        say(
            f"left out: alpha {each.alpha:g} beta {each.beta:g} gamma {each.gamma:g}: {each.reason}"
        )
    if told[MOST_TOLD:]:
        say(f"left out: {len(told) - MOST_TOLD} more, which the report's table `dropped` names")


def _ranked(
    session: Session, baseline: Architecture, candidates: dict[str, Candidate]
) -> list[Standing]:
    """Leaders first, both groups by mean. Trials of another rule or baseline do not count."""
    names = {(name, candidate.identity) for name, candidate in candidates.items()}
    return standings(
        training
        for trial, training in repeated(completed(session, "coefficients"))
        if trial.user_attrs["baseline"] == baseline.key
        and (training.contender, identity_of(trial)) in names
    )


def _stray(member: Scaled, direction: CompoundCoefficients) -> float:
    """The share of its growth that is not along the direction, 0 to about 1.

    Growth is counted in FLOPs, as logarithms: depth + 2 width + 2 resolution.
    """
    reached, wanted = (
        (math.log(depth), 2 * math.log(width), 2 * math.log(resolution))
        for depth, width, resolution in (member.reached_factors(), direction.factors(1))
    )
    total = sum(reached)
    if total < 1e-9:  # only stem and head grew
        return 1.0
    shares = zip(reached, wanted, strict=True)
    return sum(abs(r / total - w / math.log(direction.growth)) for r, w in shares) / 2


def _label(coefficients: CompoundCoefficients) -> str:
    return " ".join(f"{name} {value:g}" for name, value in coefficients)


def _candidates(
    session: Session,
    section: CoefficientsSection,
    baseline: Architecture,
    members: list[tuple[CompoundCoefficients, Scaled]],
) -> Iterator[Candidate]:
    for place, (direction, member) in enumerate(members):
        depth, width, resolution = member.reached_factors()
        attributes: dict[str, Any] = {
            **direction.model_dump(),
            "phi": member.phi,
            "depth": member.depth,
            "width": member.width,
            "resolution": member.resolution,
            "reached_depth": depth,
            "reached_width": width,
            "reached_resolution": resolution,
            "target_flops": member.target_flops,
            "rule": section.rule,
            "baseline": baseline.key,
            "contender": _label(direction),
        }
        yield Candidate(
            architecture=member.architecture,
            cost=member.cost,
            seed=session.config.seed,
            suggestion=place,
            attributes=attributes,
            training=session.folder.recipe(),
        )
