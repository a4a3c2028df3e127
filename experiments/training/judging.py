"""The quality of a network on a part of the data: one figure, by class, and by image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from experiments.config.files import write_text
from experiments.config.recipe import MetricName
from experiments.data.images import IGNORED, ImageData, Part
from experiments.training.augmentation import Preparation
from experiments.training.batches import Placed, measure_confusion, place
from experiments.training.detection import (
    SURE,
    average_precision,
    f1_of,
    mean_precisions,
    measure_detections,
    precision_curves,
)
from experiments.training.metrics import Metric, dice_by_class, iou_by_class, metric_of
from experiments.training.workers import Workers
from search_spaces.heads import Task

# Their names, beside a network's weights.
CLASSES, CONFUSION, CURVES = "classes.csv", "confusion.csv", "precision_recall.csv"


def evaluate(
    network: nn.Module,
    split: Part,
    *,
    data: ImageData,
    resolution: int,
    precision: torch.dtype | None = None,
    metric: MetricName = "auto",
) -> float:
    """The metric (by default the task's own, see `metric_of`) on `split`, on the network's device.

    `data` are those of the training: their training images give mean and deviation.
    `precision` is that of autocast, as in the training; None computes in float32.
    """
    device = next(network.parameters()).device
    prepare = Preparation.of(
        data.statistics, resolution=resolution, device=device, patches=data.patches
    )
    how: dict[str, Any] = {"prepare": prepare, "precision": precision}
    judge = metric_of(metric, data.task)
    measured = measure(network, place(split, device), data=data, **how, first=judge.first)
    return judge.of(measured)


def measure(
    network: nn.Module,
    split: Placed,
    *,
    data: ImageData,
    prepare: Preparation,
    precision: torch.dtype | None = None,
    workers: Workers | None = None,
    first: int = 1,
) -> Tensor:
    """The input of a metric: the confusion matrix, or for boxes the average precisions.

    `first` is that of `confusion`. Each of several `workers` reads its own share of `split`, and
    all get the same result.
    """
    how: dict[str, Any] = {"prepare": prepare, "precision": precision}
    if workers is not None and workers.count > 1:
        workers.as_first(network)
        split = split.part(workers.rank, workers.count)
    if data.task == "detection":
        found = measure_detections(network, split, **how)
        found = found if workers is None else workers.gathered(found)
        return average_precision(found, num_classes=data.num_classes)
    matrix = measure_confusion(network, split, **how, first=first)
    return matrix if workers is None else workers.summed(matrix)


@dataclass(frozen=True, eq=False)
class Judged:
    """The results of a network on one part. For boxes `matrix` holds average precisions.

    `told` is each image's predicted class (only in classification). `sure` is a figure of each
    image: the probability of that class; with masks its Dice, the mean over the classes that occur;
    with boxes its `f1_of`. `curves` are for boxes: the precision at an IoU of 0.5.
    """

    value: float  # of the metric
    matrix: Tensor  # int64 (K, K); float64 (2, K) of boxes
    told: Tensor  # int64 (N,)
    sure: Tensor  # float64 (N,)
    score: float = SURE  # for boxes: the least one that counts in `sure`
    curves: Tensor | None = None  # float64 (101, K), at recalls of 0, 0.01 to 1


def judge(
    network: nn.Module,
    part: Part,
    *,
    data: ImageData,
    prepare: Preparation,
    metric: Metric,
    precision: torch.dtype | None = None,
    score: float = SURE,
) -> Judged:
    """Results on `part`, read once (twice for top-5, with its own matrix)."""
    placed = place(part, next(network.parameters()).device)
    how: dict[str, Any] = {"prepare": prepare, "precision": precision}
    told, sure = torch.zeros(len(part), dtype=torch.int64), torch.zeros(len(part)).double()
    if data.task == "detection":
        found = measure_detections(network, placed, **how)
        curves = precision_curves(found, num_classes=data.num_classes)
        precisions = mean_precisions(curves)
        by_image = torch.tensor([f1_of(*each, score=score) for each in found], dtype=torch.float64)
        return Judged(metric.of(precisions), precisions, told, by_image, score, curves[0])

    def each(numbers: Tensor, scores: Tensor, labels: Tensor) -> None:
        if scores.ndim == 4:
            sure[numbers] = _dice_by_image(scores.argmax(1), labels, scores.shape[1]).cpu()
            return
        shares, classes = scores.float().softmax(1).max(1)
        told[numbers], sure[numbers] = classes.cpu(), shares.double().cpu()

    matrix = measure_confusion(network, placed, **how, each=each)
    counted = matrix
    if metric.first > 1:
        counted = measure_confusion(network, placed, **how, first=metric.first)
    return Judged(metric.of(counted), matrix.cpu(), told, sure)


def _dice_by_image(told: Tensor, masks: Tensor, classes: int) -> Tensor:
    """float64 (B,), the mean over the classes that an image's mask or prediction has."""
    known = masks != IGNORED
    values = []
    for one, mask, there in zip(told, masks, known, strict=True):
        cells = mask[there].long() * classes + one[there]
        matrix = torch.bincount(cells, minlength=classes**2).view(classes, classes)
        values.append(dice_by_class(matrix).nanmean().nan_to_num(1.0))
    return torch.stack(values)


def class_table(matrix: Tensor, classes: tuple[str, ...], task: Task) -> pd.DataFrame:
    """A row for each class, in their order.

    Classification: `class, images, predicted, precision, recall, f1`. Masks: `class, pixels,
    predicted, dice, iou`. Boxes: `class, ap50, ap`. A class that
    neither occurs nor is predicted has NaN.
    """
    names = pd.Series(classes, dtype="string")
    if task == "detection":
        return pd.DataFrame({"class": names, "ap50": matrix[0].numpy(), "ap": matrix[1].numpy()})
    right, truth, told = matrix.diagonal().double(), matrix.sum(1), matrix.sum(0)
    counts = {"predicted": told.numpy()}
    if task == "segmentation":
        dice, iou = dice_by_class(matrix), iou_by_class(matrix)
        shares = {"dice": dice.numpy(), "iou": iou.numpy()}
        return pd.DataFrame({"class": names, "pixels": truth.numpy(), **counts, **shares})
    shares = {"precision": (right / told).numpy(), "recall": (right / truth).numpy()}
    shares["f1"] = dice_by_class(matrix).numpy()
    return pd.DataFrame({"class": names, "images": truth.numpy(), **counts, **shares})


def confused_pairs(matrix: Tensor, classes: tuple[str, ...]) -> pd.DataFrame:
    """`truth, prediction, count`, the cells of the matrix that are not 0: few, for any K."""
    rows, columns = np.nonzero(matrix.numpy())
    names = np.asarray(classes, dtype=object)
    return pd.DataFrame(
        {
            "truth": pd.Series(names[rows], dtype="string"),
            "prediction": pd.Series(names[columns], dtype="string"),
            "count": matrix.numpy()[rows, columns],
        }
    )


def curve_table(curves: Tensor, classes: tuple[str, ...]) -> pd.DataFrame:
    """`class, recall, precision`, the curve of each class that occurs, at an IoU of 0.5."""
    recalls, count = np.linspace(0, 1, len(curves)).round(2), len(classes)
    table = pd.DataFrame(
        {
            "class": pd.Series(
                np.repeat(np.asarray(classes, dtype=object), len(recalls)), dtype="string"
            ),
            "recall": np.tile(recalls, count),
            "precision": curves.T.numpy().ravel(),
        }
    )
    return table.dropna(subset=["precision"])


def never_predicted(table: pd.DataFrame) -> str:
    """A sentence if a class that occurs is never predicted; else empty."""
    if "predicted" not in table:
        return ""
    there = table[table.columns[1]] > 0  # images, or pixels
    missed = table[there & (table["predicted"] == 0)]["class"].tolist()
    if not missed:
        return ""
    some = ", ".join(missed[:10]) + (f" and {len(missed) - 10} more" if missed[10:] else "")
    verb = "is" if len(missed) == 1 else "are"
    return f"{len(missed)} of {int(there.sum())} classes {verb} never predicted: {some}."


def worst_classes(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """The occurring classes with the lowest F1, Dice or AP, the lowest first."""
    by = next(name for name in ("f1", "dice", "ap") if name in table)
    return table.dropna(subset=[by]).sort_values(by, kind="stable").head(count)


def write_classes(folder: Path, judged: Judged, data: ImageData, *, part: str) -> pd.DataFrame:
    """Write classes.csv and confusion.csv, or for boxes precision_recall.csv; returns the first.

    All have a column `part`.
    """
    table = class_table(judged.matrix, data.classes, data.task)
    write_text(folder / CLASSES, table.assign(part=part).to_csv(index=False))
    if data.task != "detection":
        pairs = confused_pairs(judged.matrix, data.classes)
        write_text(folder / CONFUSION, pairs.assign(part=part).to_csv(index=False))
    if judged.curves is not None:
        curves = curve_table(judged.curves, data.classes)
        write_text(folder / CURVES, curves.assign(part=part).to_csv(index=False))
    return table
