"""Families: the members B1 to B7 of any baseline, and the paper's one dimension against all."""

from collections.abc import Iterator, Sequence
from typing import Literal

from scaler.budget import scale_to_flops, scaled_by_phi
from scaler.compound import CompoundCoefficients
from scaler.cost import measure_cost
from scaler.published import DIMENSIONS
from scaler.scaled import Scaled
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.reference.efficientnet import RELEASED
from search_spaces.resizing import RoundingName, resize, round_resolution

FamilyKind = Literal["phi", "released", "budgets", "dimensions"]

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
    rounding: RoundingName = "ceil",
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Iterator[Scaled]:
    """The members of `architecture`'s family, smallest first, one by one.

    `phi`: phi = 1..7 (or `phis`) by the formula. `released`: the hand-rounded depth, width and
    resolution of B1..B7, which no single phi gives. `budgets`: scaled to the published ratios of
    FLOPs, or to `targets`. `dimensions`: four times the depth, twice the width, twice the
    resolution, and all three by 1.4, 1.2 and 1.3 (arXiv:1905.11946, Tables 3 and 7).
    """
    rule = coefficients or CompoundCoefficients()
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    if kind == "phi":
        for phi in phis or range(1, 8):
            yield scaled_by_phi(
                architecture,
                phi=phi,
                coefficients=rule,
                rounding=rounding,
                num_classes=num_classes,
                in_channels=in_channels,
            )
    elif kind == "released":
        for member in ("b1", "b2", "b3", "b4", "b5", "b6", "b7"):
            yield _released(architecture, member, **sizes)
    elif kind == "dimensions":
        for dimension, factors in DIMENSIONS.items():
            yield _by_factors(architecture, factors, f"{architecture.name}_{dimension}", **sizes)
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
                rounding=rounding,
                num_classes=num_classes,
                in_channels=in_channels,
            )
    else:
        raise InputError(
            f"unknown kind of family '{kind}' (known: phi, released, budgets, dimensions)"
        )


def _released(
    architecture: Architecture, member: str, *, num_classes: int, in_channels: int
) -> Scaled:
    row = RELEASED[member]
    growth = row.resolution / RELEASED["b0"].resolution
    scaled = _by_factors(
        architecture,
        (row.depth, row.width, growth),
        f"{architecture.name}_{member}",
        num_classes=num_classes,
        in_channels=in_channels,
    )
    grown = scaled.architecture
    head = grown.head.replace(dropout=max(row.dropout, grown.head.dropout))
    return Scaled(**{**vars(scaled), "architecture": grown.replace(head=head)})


def _by_factors(
    architecture: Architecture,
    factors: tuple[float, float, float],
    name: str,
    *,
    num_classes: int,
    in_channels: int,
) -> Scaled:
    depth, width, growth = factors
    grown = resize(
        architecture,
        depth=depth,
        width=width,
        resolution=round_resolution(architecture.resolution, growth),
        name=name,
    )
    cost = measure_cost(grown, num_classes=num_classes, in_channels=in_channels)
    return Scaled(grown, architecture, None, depth, width, growth, cost)
