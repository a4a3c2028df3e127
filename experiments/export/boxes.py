"""The boxes that a detector finds in an image of any size, in the image's own pixels."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from experiments.config.files import write_bytes
from experiments.data.boxes import cut
from experiments.data.fitting import unfit_boxes
from experiments.export.folder import Exported
from experiments.export.model import Model, output_of, stored_side

_SMALL = 800  # pixels of a longer side up to which an overlay is enlarged, to be read
_LINES, _LETTERS = 400, 60  # parts of its longer side: the lines' width, the letters' height
_BRIGHT = 140  # of 255: on a colour that is brighter, letters are black


class Found(NamedTuple):
    """Boxes of one image, those of the highest scores first."""

    corners: np.ndarray  # float64 (n, 4): left, top, right, bottom in pixels of the upright image
    classes: np.ndarray  # int64 (n,)
    scores: np.ndarray  # float64 (n,)

    def sure(self, score: float) -> "Found":
        """Those with a score of `score` or more."""
        kept = self.scores >= score
        return Found(*(values[kept] for values in self))


def find_boxes(model: Exported | Model, image: Image.Image) -> Found:
    """What the training's own evaluation finds in an RGB image, clipped to the image.

    Boxes that lie beyond it, in the bars of a padded one, are left out.
    """
    (found,) = output_of(model, image)
    corners, scores = (found[name].double().cpu().numpy() for name in ("boxes", "scores"))
    how, (width, height) = model.preprocessing, image.size
    side = stored_side(image.size, image_size=how.image_size, fit=how.fit)
    size = {"width": width, "height": height}
    own = unfit_boxes(corners * (side / how.size), size=side, fit=how.fit, **size)
    within = cut(own, **size)
    return Found(within.corners, found["labels"].cpu().numpy()[within.kept], scores[within.kept])


def write_boxes(
    path: Path,
    picture: Image.Image,
    found: Found,
    *,
    names: tuple[str, ...],
    palette: list[tuple[int, int, int]],
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

        turned = Found(*(values[::-1].copy() for values in found))  # the surest ones on top
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
