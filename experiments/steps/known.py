"""Networks of the literature at the budget of a search: what one had without the search."""

from scaler.budget import CostName
from scaler.compound import CompoundCoefficients
from scaler.scaled import scale_to
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.reference import load_architecture

# How far the known network may be from the budget: the least that its shape allows. Few layers and
# channels leave gaps: a ResNet-20 at 5 MFLOPs comes within 5 %.
TOLERANCES = (0.01, 0.02, 0.05, 0.1)


def known_at(
    name: str,
    *,
    target: float,
    cost: CostName,
    like: Architecture,
    num_classes: int,
    in_channels: int,
) -> Architecture:
    """The network `name` scaled to the budget at the resolution of `like`, to be trained as it is.

    What belongs to the training rather than to the shape is that of `like`: the momentum of batch
    norm (the 0.01 of MobileNetV2 and EfficientNet lags behind in short trainings), dropout and drop
    connect. Raises InputError where the network is not known or cannot be scaled to the budget.
    """
    loaded = load_architecture(name)
    for tolerance in TOLERANCES:
        try:
            scaled = scale_to(
                loaded,
                target=target,
                cost=cost,
                coefficients=CompoundCoefficients(),
                tolerance=tolerance,
                resolution=like.resolution,
                num_classes=num_classes,
                in_channels=in_channels,
            ).architecture
        except InputError:
            if tolerance == TOLERANCES[-1]:
                raise
            continue
        return _trained_like(scaled, like).replace(name=name)
    raise AssertionError("the last tolerance returns or raises")


def _trained_like(network: Architecture, like: Architecture) -> Architecture:
    momentum = like.conventions.batch_norm_momentum
    changes = {
        "conventions": network.conventions.replace(batch_norm_momentum=momentum),
        "drop_connect": like.drop_connect,
    }
    if hasattr(network.head, "dropout") and hasattr(like.head, "dropout"):
        changes["head"] = network.head.replace(dropout=like.head.dropout)
    return network.replace(**changes)
