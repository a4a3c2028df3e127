"""The boxes that a detector finds in an image of any size, in the image's own pixels."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from experiments.config.files import write_bytes
from experiments.config.messages import told_now_and_then
from experiments.data.boxes import clip
from experiments.data.fitting import unfit_boxes
from experiments.export.folder import Exported
from experiments.export.model import Colour, Model, output_of, stored_side
from experiments.training.windows import Box, windows
from search_spaces.heads.fpn import PyramidHead

_SMALL = 800  # pixels of a longer side up to which an overlay is enlarged, to be read
_LINES, _LETTERS = 400, 60  # parts of its longer side: the lines' width, the letters' height
_EDGE = 0.02  # of a window's side: a box that comes so near to its edge may be cut there
_BRIGHT = 140  # of 255: on a colour that is brighter, letters are black


class FoundBoxes(NamedTuple):
    """Boxes of one image, those of the highest scores first."""

    corners: np.ndarray  # float64 (n, 4): left, top, right, bottom in pixels of the upright image
    classes: np.ndarray  # int64 (n,)
    scores: np.ndarray  # float64 (n,)

    def sure(self, score: float) -> "FoundBoxes":
        """Those with a score of `score` or more."""
        return self.where(self.scores >= score)

    def where(self, kept: np.ndarray) -> "FoundBoxes":
        """Those that a mask or numbers name."""
        return FoundBoxes(*(values[kept] for values in self))


def find_boxes(
    model: Exported | Model, image: Image.Image, *, window: int | None = None
) -> FoundBoxes:
    """What the network finds in an RGB image, or in windows of it of `window` pixels a side.

    Windows overlap. A box that a window's edge may have cut is left to the next window, where that
    holds all of it. Of two boxes of one class that overlap more than the head's `nms_iou`, the one
    with the lower score goes. An image that no window is smaller than is looked at as a whole.
    """
    width, height = image.size
    if window is None or window >= max(width, height):
        return _found(model, image)
    side = min(window, width, height)
    parts, squares = [], windows(width, height, side=side)
    for square in told_now_and_then(squares, len(squares), what="searched {} windows"):
        part = _found(model, image.crop(square))
        own = FoundBoxes(part.corners + np.tile(square[:2], 2), part.classes, part.scores)
        parts.append(own.where(_whole(part.corners, square, squares)))
    found = FoundBoxes(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    head = model.architecture.head
    assert isinstance(head, PyramidHead)
    return found.where(_best(found, head.boxes.nms_iou))


def _whole(boxes: np.ndarray, square: Box, squares: list[Box]) -> np.ndarray:
    """Of a window's own boxes (n, 4), bool (n,): which no other window sees better.

    One that touches an edge with a window behind it, and would fit into what both cover, is seen
    better there.
    """
    kept, side = np.ones(len(boxes), dtype=bool), square[2] - square[0]
    for axis, place in enumerate(square[:2]):
        others = sorted({other[axis] for other in squares})
        low, high = boxes[:, axis], boxes[:, axis + 2]
        for other in others[max(0, others.index(place) - 1) : others.index(place) + 2]:
            shared = side - abs(other - place)
            touches = high > side * (1 - _EDGE) if other > place else low < side * _EDGE
            kept &= (other == place) | ~(touches & (high - low < shared))
    return kept


def _best(found: FoundBoxes, iou: float) -> np.ndarray:
    """The numbers of those that non-maximum suppression keeps, the highest scores first."""
    from torchvision.ops import batched_nms  # a second to import, for boxes alone

    values = (torch.from_numpy(values) for values in (found.corners, found.scores, found.classes))
    return batched_nms(*values, iou).numpy()


def _found(model: Exported | Model, image: Image.Image) -> FoundBoxes:
    """What the training's own evaluation finds in an RGB image, clipped to the image.

    Boxes that lie beyond it, in the bars of a padded one, are left out.
    """
    (found,) = output_of(model, image)
    corners, scores = (found[name].double().cpu().numpy() for name in ("boxes", "scores"))
    how, (width, height) = model.preprocessing, image.size
    side = stored_side(image.size, image_size=how.image_size, fit=how.fit)
    size = {"width": width, "height": height}
    own = unfit_boxes(corners * (side / how.size), size=side, fit=how.fit, **size)
    within = clip(own, **size)
    return FoundBoxes(
        within.corners, found["labels"].cpu().numpy()[within.kept], scores[within.kept]
    )


def write_boxes(
    path: Path,
    picture: Image.Image,
    found: FoundBoxes,
    *,
    names: tuple[str, ...],
    palette: list[Colour],
) -> None:
    """The picture with the boxes, each with its class and score, as a PNG file.

    A small picture is enlarged, by a whole number.
    """
    factor = max(1, _SMALL // max(picture.size))
    longer = factor * max(picture.size)
    picture = picture.resize((factor * picture.width, factor * picture.height))
    pixels = torch.from_numpy(np.array(picture)).movedim(2, 0)
    if len(found.scores):
        from matplotlib import get_data_path
        from torchvision.utils import draw_bounding_boxes

        turned = FoundBoxes(*(values[::-1].copy() for values in found))  # the surest ones on top
        colours = [palette[number] for number in turned.classes]
        bright = [0.299 * r + 0.587 * g + 0.114 * b > _BRIGHT for r, g, b in colours]
        pixels = draw_bounding_boxes(
            pixels,
            torch.from_numpy(factor * turned.corners),
            labels=[
                f"{names[number]} {score:.2f}"
                for number, score in zip(turned.classes, turned.scores, strict=True)
            ],
            colors=colours,
            width=max(1, round(longer / _LINES)),
            font=str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"),
            font_size=max(8, round(longer / _LETTERS)),
            label_colors=["black" if each else "white" for each in bright],
            fill_labels=True,
        )
    file = io.BytesIO()
    Image.fromarray(pixels.movedim(0, 2).numpy()).save(file, "PNG")
    write_bytes(path, file.getvalue())
