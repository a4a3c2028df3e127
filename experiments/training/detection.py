"""The boxes that a detector finds on a part of the data; average precision by torchmetrics."""

import math
from importlib.util import find_spec
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from experiments.training.augmentation import Preparation
from experiments.training.batches import Placed, in_eval_mode, in_order
from experiments.training.hardware import autocast
from experiments.training.moving import resize_boxes, targets_of
from search_spaces.records import InputError

# What is true and what was told of each image, on the CPU: `boxes`, `labels`, and told `scores`.
Detections: TypeAlias = list[tuple[dict[str, Tensor], dict[str, Tensor]]]
SURE = 0.3  # the least score of boxes shown to people if no better threshold is known
_BATCH = 32  # images at a time; their maps are large


def measure_detections(
    network: nn.Module, split: Placed, *, prepare: Preparation, precision: torch.dtype | None = None
) -> Detections:
    """The true boxes of `split` and those that `network` finds in eval mode; its mode is restored.

    If memory runs out, it begins again with smaller batches.
    """

    def measure(batch_size: int) -> Detections:
        return _detections(network, split, prepare, precision, batch_size)

    return in_eval_mode(network, measure, batch_size=_BATCH)


@torch.no_grad()  # inference mode would make torchvision's cached anchors useless for training
def _detections(
    network: nn.Module,
    split: Placed,
    prepare: Preparation,
    precision: torch.dtype | None,
    batch_size: int,
) -> Detections:
    device = next(network.parameters()).device
    found: Detections = []
    for images, boxes in split.batches(in_order(len(split), batch_size=batch_size)):
        with autocast(device, precision):
            told = network(prepare(images))
        truth = targets_of(resize_boxes(boxes.cpu(), prepare.resolution / images.shape[-1]))
        for true, own in zip(truth, told, strict=True):
            own = {name: own[name].cpu() for name in ("boxes", "labels", "scores")}
            own |= {name: own[name].float() for name in ("boxes", "scores")}
            found.append((true, own))
    return found


def average_precision(found: Detections, *, num_classes: int) -> Tensor:
    """Of each class, float64 (2, K): at an IoU of 0.5, and the mean over IoUs of 0.5 to 0.95.

    NaN for a class that does not occur. As in COCO: precision at 101 recalls, with the 100 boxes of
    highest score in each image. Raises InputError if torchmetrics is not installed.
    """
    return mean_precisions(precision_curves(found, num_classes=num_classes))


def mean_precisions(curves: Tensor) -> Tensor:
    """The average precisions of `precision_curves`: float64 (2, K), see `average_precision`."""
    return torch.stack([curves[0].mean(0), curves.mean((0, 1))])


def precision_curves(found: Detections, *, num_classes: int) -> Tensor:
    """Precision, float64 (10, 101, K): at IoUs of 0.5, 0.55 to 0.95, and recalls of 0, 0.01 to 1.

    NaN for a class that is not there. See `average_precision`.
    """
    metric = _metric()
    if found:
        truth, told = (list(each) for each in zip(*found, strict=True))
        metric.update(told, truth)
    curves = torch.full((10, 101, num_classes), torch.nan, dtype=torch.float64)
    if not any(len(true["labels"]) for true, _ in found):
        return curves
    values = metric.compute()
    # (IoUs, recalls, the classes that occur, all sizes of boxes, the most detections)
    own = values["precision"][:, :, :, 0, -1].double()
    curves[:, :, values["classes"].flatten().long()] = own.masked_fill(own < 0, torch.nan)
    return curves


def sure_ones(told: dict[str, Tensor], score: float) -> dict[str, Tensor]:
    """The found boxes with a score of `score` or more."""
    sure = told["scores"] >= score
    return {name: values[sure] for name, values in told.items()}


def f1_of(truth: dict[str, Tensor], told: dict[str, Tensor], *, score: float) -> float:
    """2 right / (true + found) of one image, in [0, 1]; 1 if no box is true and none found.

    Only the boxes of `sure_ones` count as found.
    """
    told = sure_ones(told, score)
    whole = len(truth["labels"]) + len(told["labels"])
    return 2 * int(right_ones(truth, told).sum()) / whole if whole else 1.0


def right_ones(truth: dict[str, Tensor], told: dict[str, Tensor]) -> Tensor:
    """Which of one image's found boxes are right, bool (n,).

    In order of score, each may match one true box of its class at an IoU of 0.5.
    """
    from torchvision.ops import box_iou  # a second to import, for boxes alone

    overlaps = box_iou(told["boxes"], truth["boxes"])
    overlaps[told["labels"][:, None] != truth["labels"][None]] = 0
    right = torch.zeros(len(overlaps), dtype=torch.bool)
    for row in told["scores"].argsort(descending=True).tolist() if overlaps.numel() else []:
        best, column = overlaps[row].max(0)
        if best >= 0.5:
            right[row] = True
            overlaps[:, column] = 0
    return right


def best_score(found: Detections) -> float:
    """The threshold of scores with the best F1 over all boxes; SURE if no box is right.

    Rounded down to hundredths.
    """
    true = sum(len(truth["labels"]) for truth, _ in found)
    scores = torch.cat([told["scores"] for _, told in found] or [torch.zeros(0)])
    right = torch.cat([right_ones(*each) for each in found] or [scores.bool()])
    scores, order = scores.sort(descending=True, stable=True)
    if not right.any():
        return SURE
    f1 = 2 * right[order].cumsum(0) / (true + torch.arange(1, len(scores) + 1))
    return math.floor(100 * float(scores[f1.argmax()])) / 100


def check_metric() -> None:
    """Raise InputError, with the way out, if mean average precision cannot be computed."""
    for module in ("torchmetrics", "faster_coco_eval"):
        if find_spec(module) is None:
            raise InputError(
                f"mAP needs torchmetrics and faster-coco-eval, but {module} is not installed; "
                f"run `pip install 'scaler-nas[detection]'`"
            )


def _metric() -> Any:
    check_metric()
    from torchmetrics.detection import MeanAveragePrecision  # seconds to import

    metric = MeanAveragePrecision(backend="faster_coco_eval", extended_summary=True)
    metric.warn_on_many_detections = False  # by COCO's rule only an image's best 100 count
    return metric
