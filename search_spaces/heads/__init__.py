"""The heads: one file a kind, with its data, its module and how it grows."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from search_spaces.heads.anchors import Anchors
from search_spaces.heads.auxiliary import Auxiliary
from search_spaces.heads.bifpn import BiFPNHead
from search_spaces.heads.classifier import FullyConnectedHead, Head
from search_spaces.heads.deeplab import DeepLabHead
from search_spaces.heads.fcn import FCNHead
from search_spaces.heads.fpn import FPNHead
from search_spaces.heads.given import Given
from search_spaces.heads.head import DenseHead, Row, Tap, Task
from search_spaces.heads.map import MapHead
from search_spaces.heads.pixels import Pixels
from search_spaces.heads.points import Points
from search_spaces.heads.proposals import Proposals
from search_spaces.heads.unet import UNetHead


def _kind_of_head(head: Any) -> str:
    """A head without `kind` is pooled: old files have no `kind`."""
    if isinstance(head, dict):
        return str(head.get("kind", "pooled"))
    return str(getattr(head, "kind", "pooled"))


AnyHead = Annotated[
    Annotated[Head, Tag("pooled")]
    | Annotated[FullyConnectedHead, Tag("fully_connected")]
    | Annotated[FCNHead, Tag("fcn")]
    | Annotated[UNetHead, Tag("unet")]
    | Annotated[DeepLabHead, Tag("deeplab")]
    | Annotated[FPNHead, Tag("fpn")]
    | Annotated[BiFPNHead, Tag("bifpn")]
    | Annotated[MapHead, Tag("map")],
    Discriminator(_kind_of_head),
]

__all__ = [
    "Anchors",
    "AnyHead",
    "Auxiliary",
    "BiFPNHead",
    "DeepLabHead",
    "DenseHead",
    "FCNHead",
    "FPNHead",
    "FullyConnectedHead",
    "Given",
    "Head",
    "MapHead",
    "Pixels",
    "Points",
    "Proposals",
    "Row",
    "Tap",
    "Task",
    "UNetHead",
]
