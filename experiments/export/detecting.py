"""A detector in an exchange format: scores and boxes of every place, and a file that chooses.

The exchange formats hold no step whose size depends on the image, so which boxes are the best is
decided behind them: by the functions below, of whose text `detect.py` is made.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torchvision.ops import batched_nms

from experiments.data.fitting import unfit_boxes
from experiments.export.classifying import HOW, runner, standalone
from experiments.export.model import Model, prepare, stored_side
from experiments.training.detection import SURE
from search_spaces.heads.fpn import PyramidHead
from search_spaces.heads.one_stage import OneStage, placed_images
from search_spaces.network import DetectionNetwork


class EveryPlace(nn.Module):
    """A detector in one stage, up to what it says of every place: (N, C, S, S) -> scores, boxes.

    Scores are (N, P, K), from 0 to 1; boxes are (N, P, 4), left, top, right, bottom in pixels of
    the input, clipped to it. `places` is how many of the P are of each level of the pyramid.
    """

    outputs = ("scores", "boxes")
    anchors: Tensor  # (P, 4), left, top, right, bottom

    def __init__(self, network: DetectionNetwork, example: Tensor) -> None:
        super().__init__()
        assert isinstance(network.head, OneStage)
        self.network = network
        self.side = example.shape[-1]
        levels, generator = self._levels(example[:1]), network.head.detector.anchor_generator
        (anchors,) = generator(placed_images(levels, (self.side, self.side)), levels)
        each = generator.num_anchors_per_location()
        self.places = [n * x[0, 0].numel() for n, x in zip(each, levels, strict=True)]
        self.register_buffer("anchors", anchors, persistent=False)

    @torch.no_grad()
    def _levels(self, images: Tensor) -> list[Tensor]:
        found: list[Tensor] = self.network.head.detector.backbone(self.network.read(images))
        return found

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What torchvision's `postprocess_detections` computes of each place, of all of them."""
        outputs, coder = self.network.raw(images), self.network.head.detector.box_coder
        scores, codes = outputs["cls_logits"].sigmoid(), outputs["bbox_regression"]
        if "bbox_ctrness" in outputs:  # FCOS
            scores = (scores * outputs["bbox_ctrness"].sigmoid()).sqrt()
            boxes = coder.decode(codes, self.anchors)
        else:
            anchors = self.anchors.expand(codes.shape[0], -1, -1).reshape(-1, 4)
            boxes = coder.decode_single(codes.reshape(-1, 4), anchors).reshape(codes.shape)
        return scores, boxes.clamp(0, self.side)


def best_boxes(scores: Tensor, boxes: Tensor, settings: dict[str, Any]) -> dict[str, Tensor]:
    """Of one image's scores (P, K) and boxes (P, 4) the best, as torchvision's detectors choose.

    `boxes` (n, 4), `labels` and `scores` (n,), the surest first.
    """
    chosen, begin, classes = [], 0, scores.shape[1]
    for count in settings["places"]:  # of each level the surest ones
        level = scores[begin : begin + count].flatten()
        sure = (level > settings["score_threshold"]).nonzero()[:, 0]
        best = level[sure].topk(min(settings["candidates"], len(sure))).indices
        chosen.append(sure[best] + begin * classes)
        begin += count
    cells = torch.cat(chosen)
    values, labels, own = scores.flatten()[cells], cells % classes, boxes[cells // classes]
    kept = batched_nms(own, values, labels, settings["nms_iou"])[: settings["detections"]]
    return {"boxes": own[kept], "labels": labels[kept], "scores": values[kept]}


@torch.no_grad()
def detect(
    image: Any, run: Callable[[Tensor], tuple[Tensor, ...]], settings: dict[str, Any]
) -> list[tuple[str, float, list[float]]]:
    """(class, score, left, top, right, bottom in pixels of the upright image), the surest first.

    `image` is Pillow's; `run` gives the model's scores and boxes of an input.
    """
    width, height = ImageOps.exif_transpose(image).size
    scores, boxes = run(prepare(image, settings))
    found = best_boxes(scores[0], boxes[0], settings)
    fit = settings["fit"]
    side = stored_side((width, height), image_size=settings["image_size"], fit=fit)
    stored = found["boxes"].double().numpy() * (side / settings["size"])
    own = unfit_boxes(stored, width=width, height=height, size=side, fit=fit)
    own = own.clip(0, [width, height, width, height])
    labels, values = found["labels"].tolist(), found["scores"].tolist()
    rows = zip(labels, values, own.tolist(), strict=True)
    names = settings["classes"]
    return [(names[n], s, box) for n, s, box in rows if box[2] > box[0] and box[3] > box[1]]


def main(settings: dict[str, Any]) -> None:
    """Print the boxes of the images that the command line names, a row a box."""
    parser = argparse.ArgumentParser(description="Finds boxes; prints a row a box.")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--score", type=float, default=settings["score"], help="the least told")
    args = parser.parse_args()
    run = runner(Path(__file__).parent, ("scores", "boxes"))
    print("file,class,score,x1,y1,x2,y2")
    for path in args.images:
        for name, score, box in detect(Image.open(path), run, settings):
            if score >= args.score:
                figures = ",".join(f"{value:.4f}" for value in [score, *box])
                print(f"{path},{name},{figures}")


_HEAD = '''\
"""Finds boxes in images by the model beside it; needs torch, torchvision, Pillow, numpy.

python detect.py IMAGE ... prints a row a box, in pixels of the image: those with the score that
had the best F1 in validation, or more; --score sets another. With model.onnx it needs onnxruntime
too. Written by `scaler export`.
"""

from __future__ import annotations'''


def detect_code(model: Model, every: EveryPlace) -> str:
    """The text of detect.py, which finds in an image what the network itself does."""
    head, how = model.architecture.head, model.preprocessing
    assert isinstance(head, PyramidHead)
    settings = {
        **how.model_dump(mode="json", include=HOW),
        "classes": list(model.classes) or [str(n) for n in range(model.num_classes)],
        "places": every.places,
        "candidates": every.network.head.detector.topk_candidates,
        "score": SURE if model.score is None else model.score,
        "score_threshold": head.boxes.score_threshold,
        "nms_iou": head.boxes.nms_iou,
        "detections": head.boxes.detections,
    }
    return standalone(_HEAD, main, settings)
