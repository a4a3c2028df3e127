"""A network that scores pixels, in an exchange format: the file beside it that writes masks."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor

from experiments.data.fitting import padded_place
from experiments.export.classifying import HOW, runner, standalone
from experiments.export.model import Model, class_colours, prepare, stored_side
from experiments.training.windows import averaged, crop, resized, windows


def own_shape(scores: Tensor, shape: tuple[int, int], settings: dict[str, Any]) -> Tensor:
    """(K, H, W), of scores (1, K, R, R) of the square that an image became.

    `shape` is the image's width and height; `settings` has its `fit` and `image_size`.
    """
    width, height = shape
    if settings["fit"] != "stretch":  # first as large as the square was, as the training measures
        side = stored_side(shape, image_size=settings["image_size"], fit=settings["fit"])
        left, top, wide, tall = padded_place(width, height, side)
        scores = resized(scores, (side, side))[:, :, top : top + tall, left : left + wide]
    return resized(scores, (height, width))[0]


@torch.no_grad()
def segment(
    image: Any, run: Callable[[Tensor], tuple[Tensor, ...]], settings: dict[str, Any]
) -> Any:
    """The class of each pixel of the upright image, as uint8 (H, W).

    `image` is Pillow's; `run` gives the model's scores (1, K, R, R) of an input. As `scaler
    predict`: of `fit: crop` and `patches` in windows that overlap.
    """
    image = ImageOps.exif_transpose(image).convert("RGB")
    width, height = image.size
    if settings["fit"] == "crop":
        side = min(width, height)
        boxes = windows(width, height, side=side)
        scores = averaged(
            lambda box: run(prepare(image.crop(box), settings))[0],
            boxes,
            width=width,
            height=height,
            side=side,
        )[0]
    else:
        inputs, side = prepare(image, settings), settings["size"]
        length = inputs.shape[-1]  # of `patches` it may be more than `side`
        whole = averaged(
            lambda box: run(crop(inputs, box))[0],
            windows(length, length, side=side),
            width=length,
            height=length,
            side=side,
        )
        scores = own_shape(whole, image.size, settings)
    return scores.argmax(0).to(torch.uint8).numpy()


def main(settings: dict[str, Any]) -> None:
    """Write the mask of each image that the command line names; print the share of each class."""
    parser = argparse.ArgumentParser(description="Writes masks of the classes' numbers as PNG.")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("-o", "--output", type=Path, default=Path("masks"), metavar="FOLDER")
    args = parser.parse_args()
    masks = [args.output / f"{Path(path).stem}.png" for path in args.images]
    if len({*masks}) < len(masks):
        parser.error("two images have the same name, and their masks would be one file")
    run = runner(Path(__file__).parent, ("scores",))
    args.output.mkdir(parents=True, exist_ok=True)
    print(",".join(["file", *settings["classes"]]))
    for path, target in zip(args.images, masks, strict=True):
        mask = segment(Image.open(path), run, settings)
        picture = Image.fromarray(mask)
        picture.putpalette([value for colour in settings["palette"] for value in colour])
        picture.save(target)
        shares = [f"{(mask == number).mean():.4f}" for number in range(len(settings["classes"]))]
        print(",".join([path, *shares]))


_HEAD = '''\
"""Tells the class of each pixel by the model beside it; needs torch, Pillow, numpy.

python segment.py IMAGE ... -o masks/ writes a mask of each, and prints the share of each class.
With model.onnx it needs onnxruntime too. Written by `scaler export`.
"""

from __future__ import annotations'''


def segment_code(model: Model) -> str:
    """The text of segment.py, which tells of each pixel what the network itself does."""
    settings = {
        **model.preprocessing.model_dump(mode="json", include=HOW),
        "classes": list(model.classes) or [str(n) for n in range(model.num_classes)],
        "palette": class_colours(model.colours, model.num_classes),
    }
    return standalone(_HEAD, main, settings)
