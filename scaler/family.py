"""Families: the members B1 to B7 of any baseline, in three kinds."""

from collections.abc import Iterator, Sequence
from typing import Literal

from scaler.budget import Scaled, scale_to_flops, scaled_by_phi
from scaler.compound import CompoundCoefficients
from scaler.cost import measure_cost
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.reference.efficientnet import RELEASED
from search_spaces.resizing import resize

FamilyKind = Literal["phi", "released", "budgets"]

# FLOPs of B1..B7 over B0's, as measured (the published networks at their published resolutions).
PUBLISHED_RATIOS = (1.78, 2.58, 4.74, 11.39, 26.61, 49.42, 97.83)


def scale_family(
    architecture: Architecture,
    *,
    kind: FamilyKind,
    coefficients: CompoundCoefficients | None = None,
    phis: Sequence[float] | None = None,
    targets: Sequence[float] | None = None,
    tolerance: float = 0.01,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Iterator[Scaled]:
    """The members of `architecture`'s family, smallest first, one by one.

    `phi`: phi = 1..7 (or `phis`) by the formula. `released`: the hand-rounded depth, width and
    resolution of B1..B7, which no single phi gives. `budgets`: scaled to the published ratios of
    FLOPs, or to `targets`.
    """
    rule = coefficients or CompoundCoefficients()
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    if kind == "phi":
        for phi in phis or range(1, 8):
            yield scaled_by_phi(architecture, phi=phi, coefficients=rule, **sizes)
    elif kind == "released":
        for member in ("b1", "b2", "b3", "b4", "b5", "b6", "b7"):
            yield _released(architecture, member, **sizes)
    elif kind == "budgets":
        if targets is None:
            baseline = measure_cost(architecture, **sizes).flops
            targets = [ratio * baseline for ratio in PUBLISHED_RATIOS]
        for target in targets:
            yield scale_to_flops(
                architecture,
                target_flops=target,
                coefficients=rule,
                tolerance=tolerance,
                **sizes,
            )
    else:
        raise InputError(f"unknown kind of family '{kind}' (known: phi, released, budgets)")


def _released(
    architecture: Architecture, member: str, *, num_classes: int, in_channels: int
) -> Scaled:
    row = RELEASED[member]
    growth = row.resolution / RELEASED["b0"].resolution
    grown = resize(
        architecture,
        depth=row.depth,
        width=row.width,
        resolution=round(architecture.resolution * growth),
        name=f"{architecture.name}_{member}",
    )
    head = grown.head.replace(dropout=max(row.dropout, grown.head.dropout))
    grown = grown.replace(head=head)
    cost = measure_cost(grown, num_classes=num_classes, in_channels=in_channels)
    return Scaled(grown, architecture, None, row.depth, row.width, growth, cost)
