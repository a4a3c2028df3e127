"""Families: the members B1 to B7 of any baseline, and the paper's one dimension against all.

Below are the papers' figures of scaled networks, to compare with what we measure. Top-1 is
ImageNet's, in per cent.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from scaler.budget import CostName
from scaler.compound import CompoundCoefficients
from scaler.cost import measure_cost
from scaler.scaled import Scaled, at_resolution, scale_to, scaled_by_phi
from scaler.shapes import dominates
from search_spaces.architecture import Architecture
from search_spaces.heads import Anchors, BiFPNHead, Proposals
from search_spaces.records import InputError
from search_spaces.reference.efficientdet import GROWN
from search_spaces.reference.efficientnet import RELEASED
from search_spaces.resizing import RoundingName, resize, round_channels, round_resolution

FamilyKind = Literal["phi", "released", "budgets", "dimensions"]

# FLOPs of B1..B7 over B0's, as measured (the published networks at their published resolutions).
PUBLISHED_RATIOS = (1.78, 2.58, 4.74, 11.39, 26.61, 49.42, 97.83)


class PrintedFigures(NamedTuple):
    """A printed row; None where the paper prints no such figure."""

    flops: float | None
    top1: float | None


# arXiv:1905.11946v5, Table 2 (FLOPs) and Table 8 (top-1 on the validation set).
EFFICIENTNETS: dict[str, PrintedFigures] = {
    "efficientnet_b0": PrintedFigures(0.39e9, 77.11),
    "efficientnet_b1": PrintedFigures(0.70e9, 79.13),
    "efficientnet_b2": PrintedFigures(1.0e9, 80.07),
    "efficientnet_b3": PrintedFigures(1.8e9, 81.59),
    "efficientnet_b4": PrintedFigures(4.2e9, 82.89),
    "efficientnet_b5": PrintedFigures(9.9e9, 83.60),
    "efficientnet_b6": PrintedFigures(19e9, 83.95),
    "efficientnet_b7": PrintedFigures(37e9, 84.26),
}

# Depth, width and resolution factors of Table 3 and Table 7. The compound factors are printed for
# EfficientNet-B0 and MobileNetV1 alone; those of the other rows are not published.
DIMENSIONS: dict[str, tuple[float, float, float]] = {
    "depth": (4.0, 1.0, 1.0),
    "width": (1.0, 2.0, 1.0),
    "resolution": (1.0, 1.0, 2.0),
    "compound": (1.4, 1.2, 1.3),
}

# (network, dimension) -> printed row. B0's single rows print 1.8B to 1.9B, which d = 4, w = 2 and
# r = 2 do not give with the official rounding; ResNet-50's depth and width rows fit our counts only
# if the two are swapped.
SINGLE_AND_COMPOUND: dict[tuple[str, str], PrintedFigures] = {
    ("efficientnet_b0", "depth"): PrintedFigures(1.8e9, 79.0),
    ("efficientnet_b0", "width"): PrintedFigures(1.8e9, 78.9),
    ("efficientnet_b0", "resolution"): PrintedFigures(1.9e9, 79.1),
    ("efficientnet_b0", "compound"): PrintedFigures(1.8e9, 81.1),
    ("mobilenet_v1", "width"): PrintedFigures(2.2e9, 74.2),
    ("mobilenet_v1", "resolution"): PrintedFigures(2.2e9, 72.7),
    ("mobilenet_v1", "compound"): PrintedFigures(2.3e9, 75.6),
    ("mobilenet_v2", "depth"): PrintedFigures(1.2e9, 76.8),
    ("mobilenet_v2", "width"): PrintedFigures(1.1e9, 76.4),
    ("mobilenet_v2", "resolution"): PrintedFigures(1.2e9, 74.8),
    ("mobilenet_v2", "compound"): PrintedFigures(1.3e9, 77.4),
    ("resnet50", "depth"): PrintedFigures(16.2e9, 78.1),
    ("resnet50", "width"): PrintedFigures(14.7e9, 77.7),
    ("resnet50", "resolution"): PrintedFigures(16.4e9, 77.5),
    ("resnet50", "compound"): PrintedFigures(16.7e9, 78.8),
}


def scale_family(
    architecture: Architecture,
    *,
    kind: FamilyKind,
    coefficients: CompoundCoefficients | None = None,
    phis: Sequence[float] | None = None,
    targets: Sequence[float] | None = None,
    tolerance: float = 0.01,
    rounding: RoundingName = "ceil",
    resolution: int | None = None,
    max_resolution: int | None = None,
    limits: Mapping[CostName, float] | None = None,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> Iterator[Scaled]:
    """The members of `architecture`'s family, smallest first, one by one.

    `phi`: phi = 1..7 (or `phis`) by the formula. `released`: the hand-rounded depth, width and
    resolution of B1..B7, which no single phi gives; for a detector on a BiFPN the table of
    EfficientDet-D1..D7. `budgets`: scaled to the published ratios of FLOPs, or to `targets`,
    smallest first; no member is smaller than the one before it in any dimension.
    `resolution`, `max_resolution` and, for `budgets`, `limits` are those of `scale_to`; a member
    that cannot keep the limits raises InputError (see `members_within`). `dimensions`: four times
    the depth, twice the width, twice the resolution, and all three by 1.4, 1.2 and 1.3
    (arXiv:1905.11946, Tables 3 and 7).
    """
    if limits and kind != "budgets":
        raise InputError(f"limits are only for a family of budgets, but its kind is '{kind}'")
    rule = coefficients or CompoundCoefficients()
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    held: dict[str, Any] = {"resolution": resolution, "max_resolution": max_resolution}
    if kind == "phi":
        for phi in phis or range(1, 8):
            yield scaled_by_phi(
                architecture,
                phi=phi,
                coefficients=rule,
                rounding=rounding,
                **held,
                **sizes,
            )
    elif kind == "budgets":
        base = at_resolution(architecture, resolution, max_resolution)
        options: dict[str, Any] = {"tolerance": tolerance, "rounding": rounding, **held, **sizes}
        options["limits"] = limits
        yield from _to_budgets(base, targets, coefficients=rule, **options)
    elif resolution is not None or max_resolution is not None:
        raise InputError(f"a family of kind {kind} has its own resolutions; leave resolution out")
    elif kind == "released":
        begins = "d" if isinstance(architecture.head, BiFPNHead) else "b"
        for number in range(1, 8):
            yield _released(architecture, f"{begins}{number}", **sizes)
    elif kind == "dimensions":
        for dimension, factors in DIMENSIONS.items():
            yield _by_factors(architecture, factors, f"{architecture.name}_{dimension}", **sizes)
    else:
        raise InputError(
            f"unknown kind of family '{kind}' (known: phi, released, budgets, dimensions)"
        )


def members_within(
    members: Iterable[Scaled], limits: Mapping[CostName, float]
) -> tuple[list[Scaled], str]:
    """The members before the first that cannot keep `limits`, and the reason; "" if all can.

    Raises InputError if not even the smallest can, and for any other wrong input.
    """
    found: list[Scaled] = []
    try:
        found.extend(members)
    except InputError as error:
        if not limits or not found:
            raise
        return found, f"larger members than {found[-1].architecture.name} are left out: {error}"
    return found, ""


def _to_budgets(
    base: Architecture, targets: Sequence[float] | None, **options: Any
) -> Iterator[Scaled]:
    """The members at `targets`, each at least as large as the one before it in every part."""
    sizes = {name: options[name] for name in ("num_classes", "in_channels")}
    flops = measure_cost(base, **sizes).flops
    before: Architecture | None = None
    for target in sorted(targets or [ratio * flops for ratio in PUBLISHED_RATIOS]):
        if target >= flops and (before is None or not dominates(before, base)):
            before = base
        member = scale_to(base, target=target, above=before, **options)
        before = member.architecture
        yield member


def _released(architecture: Architecture, member: str, **sizes: int) -> Scaled:
    """The row of EfficientNet's table, or of EfficientDet's, applied to the baseline."""
    if member in GROWN:
        return _released_detector(architecture, member, **sizes)
    row = RELEASED[member]
    growth = row.resolution / RELEASED["b0"].resolution
    scaled = _by_factors(
        architecture,
        (row.depth, row.width, growth),
        f"{architecture.name}_{member}",
        **sizes,
    )
    grown = scaled.architecture
    head = grown.head
    if (dropout := getattr(head, "dropout", None)) is not None:  # detectors have none
        head = head.replace(dropout=max(row.dropout, dropout))
    return Scaled(**{**vars(scaled), "architecture": grown.replace(head=head)})


def _released_detector(architecture: Architecture, member: str, **sizes: int) -> Scaled:
    """EfficientDet's table over its D0: layers of the head are added, the rest is multiplied."""
    row, first = GROWN[member], GROWN["d0"]
    body = RELEASED[row.body]
    factors = (body.depth, body.width, row.resolution / first.resolution)
    scaled = _by_factors(architecture, factors, f"{architecture.name}_{member}", **sizes)
    head = architecture.head
    assert isinstance(head, BiFPNHead)
    predictor = head.predictor.deepen(lambda layers: layers + row.predictor - first.predictor)
    if isinstance(predictor, Anchors | Proposals):
        predictor = predictor.replace(size=predictor.size * row.size / first.size)
    head = head.replace(
        channels=round_channels(head.channels, row.channels / first.channels),
        layers=head.layers + row.layers - first.layers,
        fusion=head.fusion if row.weighted else "sum",
        predictor=predictor,
    )
    grown = scaled.architecture.replace(head=head)
    cost = measure_cost(grown, **sizes)
    return Scaled(**{**vars(scaled), "architecture": grown, "cost": cost})


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
