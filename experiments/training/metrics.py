"""Metrics by name: the figure that a network is judged by, from its confusion matrix or boxes.

A confusion matrix counts images, or pixels: int64 (K, K), a row for each true class, a column for
each predicted one. Dice over a whole part is 2 TP / ((TP + FP) + (TP + FN)), the mean over
classes. Boxes have instead the average precision of each class, float64 (2, K), see `detection`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.config.recipe import MetricName
from experiments.data.images import IGNORED
from search_spaces.heads import Task
from search_spaces.records import InputError


@dataclass(frozen=True)
class Metric:
    """A figure in [0, 1], the higher the better; `label` is its name for people."""

    name: str
    label: str
    task: Task
    of: Callable[[Tensor], float]
    first: int = 1  # an image is right if its class is among so many of highest score


def _right(matrix: Tensor) -> float:
    return int(matrix.diagonal().sum()) / max(1, int(matrix.sum()))


def _recalls(matrix: Tensor) -> float:
    """Over the classes that occur."""
    return _mean(matrix.diagonal().double() / matrix.sum(1))


def dice_by_class(matrix: Tensor) -> Tensor:
    """2 TP / ((TP + FP) + (TP + FN)), float64 (K,); NaN for a class that is neither true nor told.

    For counts of images the same number is called F1.
    """
    return 2 * matrix.diagonal().double() / (matrix.sum(0) + matrix.sum(1))


def iou_by_class(matrix: Tensor) -> Tensor:
    """TP / (TP + FP + FN), float64 (K,); NaN for a class that is neither true nor told."""
    right = matrix.diagonal().double()
    return right / (matrix.sum(0) + matrix.sum(1) - right)


def _mean(values: Tensor) -> float:
    """The mean without NaN; 0 if all are NaN, as when no pixel of a part has a class."""
    return float(values.nanmean().nan_to_num(0.0))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", "classification", _right),
        Metric("balanced_accuracy", "balanced accuracy", "classification", _recalls),
        Metric("macro_f1", "macro F1", "classification", lambda m: _mean(dice_by_class(m))),
        Metric("top5", "top-5 accuracy", "classification", _right, first=5),
        Metric("dice", "Dice", "segmentation", lambda m: _mean(dice_by_class(m))),
        Metric("miou", "mean IoU", "segmentation", lambda m: _mean(iou_by_class(m))),
        Metric("pixel_accuracy", "pixel accuracy", "segmentation", _right),
        Metric("map50", "mAP50", "detection", lambda precisions: _mean(precisions[0])),
        Metric("map", "mAP", "detection", lambda precisions: _mean(precisions[1])),
    )
}
DEFAULTS: dict[Task, str] = {
    "classification": "accuracy",
    "segmentation": "dice",
    "detection": "map50",
}


def metric_of(name: MetricName, task: Task, *, classes: int | None = None) -> Metric:
    """The metric of that name; `auto` is accuracy, Dice for masks, mAP50 for boxes.

    Raises InputError for a metric of another task, and if there are so few `classes` that every
    image would be right; boxes may have one class.
    """
    metric = METRICS[DEFAULTS[task] if name == "auto" else name]
    if metric.task != task:
        own = ", ".join(each.name for each in METRICS.values() if each.task == task)
        raise InputError(
            f"train.metric {name} is for {metric.task}, but the data are for {task}; "
            f"use auto or one of {own}"
        )
    if classes is not None and classes <= metric.first and task != "detection":
        raise InputError(
            f"train.metric {name} needs at least {metric.first + 1} classes, but the data have "
            f"{classes}, so that every image would be right; use accuracy"
        )
    return metric


def confusion(scores: Tensor, targets: Tensor, *, first: int = 1) -> Tensor:
    """The confusion matrix of scores (N, K) or (N, K, H, W) and classes (N,) or (N, H, W).

    The true class counts as predicted if among the `first` of highest score, else the highest.
    """
    classes, told = scores.shape[1], scores.argmax(1)
    if first > 1:
        among = (scores.topk(first, dim=1).indices == targets[:, None]).any(1)
        told = targets.where(among, told)
    cells = targets.flatten().long() * classes + told.flatten()
    if targets.ndim == 3:  # into an extra last cell; selecting pixels would wait for the device
        cells = cells.where(targets.flatten() != IGNORED, classes * classes)
    counts = torch.bincount(cells, minlength=classes * classes + 1)
    assert len(counts) == classes * classes + 1, "a class that the network does not know"
    return counts[:-1].view(classes, classes)
