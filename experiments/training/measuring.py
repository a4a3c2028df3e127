"""What a network reaches on a part of the data, whatever its task."""

from typing import Any

import torch
from torch import Tensor, nn

from experiments.config.recipe import MetricName
from experiments.data.images import ImageData, Part
from experiments.training.augmentation import Preparation
from experiments.training.batches import Placed, measure_confusion, place
from experiments.training.detection import average_precision, measure_detections
from experiments.training.metrics import metric_of
from experiments.training.workers import Workers


def evaluate(
    network: nn.Module,
    split: Part,
    *,
    data: ImageData,
    resolution: int,
    precision: torch.dtype | None = None,
    metric: MetricName = "auto",
) -> float:
    """The metric (by default the task's own, see `metric_of`) on `split`, where the network is.

    `data` is what the network was trained on: its training images give mean and deviation.
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
    """What a metric is computed of: the confusion matrix, or for boxes the average precisions.

    `first` is that of `confusion`. Of several `workers` each looks at its own share of `split`,
    and all get the same.
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
