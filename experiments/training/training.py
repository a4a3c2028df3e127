"""One way to train a network: seed, build, train. Trials, members and proxies go through it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from experiments.config.recipe import Augmentation, TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData, Part
from experiments.training.augmentation import Preparation
from experiments.training.batches import place
from experiments.training.checkpoint import TrainedEpoch, TrainingState, write_whole
from experiments.training.detection import SURE, best_score, check_metric, measure_detections
from experiments.training.hardware import choose_precision, keep_freed_memory, repeatable
from experiments.training.judging import Judged, judge, write_classes
from experiments.training.loop import train_epochs
from experiments.training.metrics import Metric, metric_of
from experiments.training.moving import check_boxes_can
from experiments.training.quantised import JudgedIn
from scaler.conditions import find_device
from search_spaces.architecture import Architecture
from search_spaces.heads import AnyHead, Given
from search_spaces.network import Network, build_network
from search_spaces.records import InputError
from search_spaces.space import SearchSpace

MOST_SAVING = 0.1  # share of the time of the training


@dataclass(frozen=True, eq=False)
class Training:
    """A network, its data and its recipe: everything that determines the training.

    It trains at `resolution`, or at the architecture's own if that is None. `initial` are weights
    to begin with, by name; others begin as the seed initialises them. The stem and the first
    `frozen` stages keep their weights; None: everything learns. `judged_in` is that of
    `train_epochs`.
    """

    architecture: Architecture
    data: ImageData
    data_config: DataConfig
    config: TrainConfig
    epochs: int
    seed: int
    threads: int = 1  # of torch on a CPU
    resolution: int | None = None
    initial: dict[str, Tensor] = field(default_factory=dict)
    frozen: int | None = None
    judged_in: JudgedIn = "float32"

    def __post_init__(self) -> None:
        """InputError if the head, or the recipe, is for another task than the data."""
        check_fits_data(self.architecture, self.data)
        check_recipe(self.config, self.data, augmentation=self.varied)

    @property
    def varied(self) -> Augmentation:
        """The augmentation of training images."""
        return self.data_config.varied(self.config.augmentation)

    @property
    def metric(self) -> Metric:
        """The metric on the validation and test parts."""
        return metric_of(self.config.metric, self.data.task, classes=self.data.num_classes)

    def network(self) -> Network:
        """The network before its first step; equal for equal seeds."""
        torch.manual_seed(self.seed)
        network = build_network(
            self.architecture, num_classes=self.data.num_classes, in_channels=self.data.channels
        )
        network.load_state_dict(self.initial, strict=False)
        if self.frozen is not None:
            for part in (network.stem, *network.stages[: self.frozen]):
                part.requires_grad_(False)
        return network

    def run(
        self, *, state: TrainingState | None = None, rank: int = 0, workers: int = 1
    ) -> Iterator[TrainedEpoch]:
        """Train from the start, or from `state`; a result for each epoch. Raises as `train_epochs`.

        `rank` is this process's number among several `workers`.
        """
        torch.set_num_threads(self.threads)
        keep_freed_memory()
        return train_epochs(
            self.network(),
            self.data,
            config=self.config,
            epochs=self.epochs,
            resolution=self.resolution or self.architecture.resolution,
            augmentation=self.varied,
            seed=self.seed,
            device=self.config.device,
            state=state,
            rank=rank,
            workers=workers,
            judged_in=self.judged_in,
        )

    def test(self, network: nn.Module) -> float:
        """The metric's value in [0, 1] on the test part, on the device that the recipe names."""
        return self.judged(network).value

    def judged(
        self,
        network: nn.Module,
        folder: Path | None = None,
        *,
        part: Literal["validation", "test"] = "test",
        sheet: Path | None = None,
        score: float = SURE,
    ) -> Judged:
        """Results on a part of the data, on the device that the recipe names.

        Images with boxes are ranked by the found boxes with a score of `score` or more. Tables by
        class are written into `folder` (see `write_classes`), and a sheet of images to the path
        `sheet`, each if it is given.
        """
        images: Part = getattr(self.data, part)
        how = {"data": self.data, **self._shown(network)}
        with repeatable(self.config.deterministic):
            found = judge(network, images, metric=self.metric, score=score, **how)
            if folder is not None:
                write_classes(folder, found, self.data, part=part)
            if sheet is not None:
                from experiments.training.sheets import make_sheet  # loads matplotlib

                if (drawn := make_sheet(network, images, found, **how)) is not None:
                    write_whole(sheet, drawn)
        return found

    def best_score(self, network: nn.Module) -> dict[str, float]:
        """For boxes `score`, the threshold of best F1 on the validation part; else nothing."""
        if self.data.task != "detection":
            return {}
        how = self._shown(network)
        with repeatable(self.config.deterministic):
            placed = place(self.data.validation, how["prepare"].scale.device)
            return {"score": best_score(measure_detections(network, placed, **how))}

    def _shown(self, network: nn.Module) -> dict[str, Any]:
        """The arguments of judging; the network is moved to the recipe's device."""
        device = find_device(self.config.device)
        network.to(device)
        resolution = self.resolution or self.architecture.resolution
        prepare = Preparation.of(
            self.data.statistics,
            resolution=resolution,
            device=device,
            patches=self.data.patches,
        )
        return {"prepare": prepare, "precision": choose_precision(self.config.precision, device)}

    def metadata(self, **facts: Any) -> dict[str, Any]:
        """A checkpoint's metadata: enough to build, use and train its network again.

        JSON values; `facts` (accuracies, the epoch) come last.
        """
        data = self.data
        return {
            "architecture": self.architecture.model_dump(mode="json", exclude_defaults=True),
            "classes": list(data.classes),
            **({"colours": data.colours} if data.colours else {}),
            "metric": self.metric.name,
            "in_channels": data.channels,
            "data": data.fingerprint,
            "data_name": data.name,
            "mean": data.statistics.mean,
            "std": data.statistics.std,
            "image_size": data.image_size,
            "fit": self.data_config.fitted(data.task),
            "train_images": len(data.train),
            "epochs": self.epochs,
            "seed": self.seed,
            "train": self.config.model_dump(mode="json"),
            **facts,
        }


def check_fits_data(architecture: Architecture, data: ImageData) -> None:
    """Raise InputError where the head is for another task than the data, or needs more of them."""
    if architecture.task == data.task:
        _check_regions(architecture.head, architecture.name)
        return
    ways = {
        "segmentation": "give it a head of kind unet, fcn or deeplab, or fpn with pixels",
        "detection": "give it a head that finds boxes, as of kind fpn",
        "classification": "give it a pooled head",
    }
    raise InputError(
        f"the head of '{architecture.name}' is for {architecture.task} (kind "
        f"{architecture.head.kind}), but the data '{data.name}' are for {data.task}; "
        f"{ways[data.task]}"
    )


def _check_regions(head: AnyHead, name: str) -> None:
    if isinstance(getattr(head, "predictor", None), Given):
        raise InputError(
            f"a head of '{name}' needs regions from the caller, and no data have any: take "
            f"predictor kind proposals, or train it from Python"
        )


def check_recipe(config: TrainConfig, data: ImageData, *, augmentation: Augmentation) -> None:
    """Raise InputError if the metric, the loss or the augmentation is for other data."""
    metric_of(config.metric, data.task, classes=data.num_classes)
    if data.task != "detection":
        return
    for name, only in {"loss": "cross_entropy", "class_weights": "none"}.items():
        if (value := getattr(config, name)) != only:
            raise InputError(
                f"train.{name} {value} cannot be used with boxes, as a head that finds boxes has "
                f"its own loss; leave it out"
            )
    if config.compiled == "always":
        raise InputError(
            "train.compiled: always cannot be used with boxes, whose number differs from image to "
            "image; leave it out"
        )
    check_boxes_can(augmentation)
    check_metric()


def check_judged_in(judged_in: JudgedIn, data: ImageData) -> None:
    """Raise InputError if networks cannot be judged in int8."""
    if judged_in == "int8" and data.task == "detection":
        raise InputError(
            f"search.precision int8 is for classification and segmentation, but the data "
            f"'{data.name}' are for {data.task}; leave it out"
        )


def check_space(
    space: SearchSpace, config: TrainConfig, data: ImageData, *, varied: Augmentation
) -> None:
    """Raise InputError if a head of the space, or the recipe, is for another task.

    `varied` is the augmentation of training images.
    """
    check_recipe(config, data, augmentation=varied)
    tasks = space.tasks()
    if tasks != {data.task}:
        ways = {
            "classification": "mbconv_small",
            "segmentation": "mbconv_dense",
            "detection": "mbconv_detect",
        }
        raise InputError(
            f"the heads of space '{space.name}' are for {' and '.join(sorted(tasks))}, but the "
            f"data '{data.name}' are for {data.task}; choose another space, as "
            f"`--space {ways[data.task]}`"
        )
    for head in space.heads():
        _check_regions(head, space.name)


@dataclass
class Best:
    """The epoch whose weights are tested and kept: the first with the highest validation accuracy.

    `scaler train`, the family and the comparison use it.
    """

    epoch: int = 0  # none yet
    accuracy: float = -1.0

    @classmethod
    def of(cls, accuracies: Sequence[float]) -> "Best":
        """The best of the epochs so far."""
        best = cls()
        for epoch, accuracy in enumerate(accuracies, start=1):
            best.improves(epoch, accuracy)
        return best

    def improves(self, epoch: int, accuracy: float) -> bool:
        """Whether this epoch is better than all before; it is then the best."""
        if accuracy <= self.accuracy:
            return False
        self.epoch, self.accuracy = epoch, accuracy
        return True


class Pace:
    """Decides when to save, so that saving takes at most MOST_SAVING of a training's time."""

    def __init__(self) -> None:
        self._cost = 0.0  # seconds of the last saving, with the transfer to the driver's disk
        self._trained = 0.0  # seconds of training since then

    def due(self, seconds: float) -> bool:
        """Count `seconds` of training; whether it is time to save."""
        self._trained += seconds
        return self._cost <= MOST_SAVING * self._trained

    def saved(self, cost: float) -> None:
        """Note that the training was saved in `cost` seconds."""
        self._cost, self._trained = cost, 0.0
