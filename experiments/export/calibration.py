"""The images that give int8 its ranges: whose they are, and as the network takes them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from experiments.config.run_folder import RunFolder
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData, Part
from experiments.data.sources import load_data
from experiments.export.formats import check_packages
from experiments.export.model import Model, Preprocessing, check_task
from experiments.training.batches import in_order, most_at_once, place
from experiments.training.members.folder import TrainingFolder, TrainRequest
from experiments.training.windows import pieces
from search_spaces.records import InputError

BATCH = 64  # the most images at a time that ONNX Runtime gets


def calibration_data(
    checkpoint: Path, model: Model, source: str | None, *, formats: Sequence[str] = ("onnx",)
) -> ImageData:
    """The data that `checkpoint` was trained on, as its folder says; or `source`, where given.

    Raises InputError where nobody says them, where they do not fit the network, or where a package
    is missing that int8 needs.
    """
    check_int8(model)
    if "onnx" in formats:
        check_packages("int8")
    if source is not None:
        seed = int(model.training.get("seed", 0))
        stored = {k: v for k, v in model.training.items() if k in ("image_size", "fit")}
        config = DataConfig.parse({"source": source, **stored}, source="--data")
        data = load_data(config, seed=seed)
    else:
        data = _trained_on(checkpoint)
    if data.task != model.architecture.task:
        raise InputError(
            f"'{model.architecture.name}' is for {model.architecture.task}, but '{data.name}' is "
            f"for {data.task}; name other images with --data"
        )
    wanted = model.preprocessing.channels
    if data.channels != wanted:
        raise InputError(
            f"'{model.architecture.name}' takes images of {wanted} channels, but those of "
            f"'{data.name}' have {data.channels}; name other images with --data"
        )
    if data.num_classes != model.num_classes:
        raise InputError(
            f"'{model.architecture.name}' tells {model.num_classes} classes apart, but "
            f"'{data.name}' has {data.num_classes}; name other images with --data"
        )
    return data


def check_int8(model: Model) -> None:
    """Raise InputError for a network that is not written in int8."""
    check_task(model.architecture, "classification", "segmentation", what="int8")


def _trained_on(checkpoint: Path) -> ImageData:
    if checkpoint.suffix == ".safetensors" and checkpoint.is_file():
        # <folder>/checkpoints/best.safetensors, or <run>/checkpoints/<name>/weights.safetensors
        for folder in checkpoint.absolute().parents[1:3]:
            training = TrainingFolder(folder)
            if training.request.is_file():
                request = TrainRequest.read(training.request)
                return load_data(request.data, seed=request.seed)
            if (folder / "config.yaml").is_file():
                config = RunFolder.open(folder).config
                return load_data(config.data, seed=config.seed)
    raise InputError(
        f"int8 needs images to calibrate with, and nothing beside '{checkpoint}' says which; "
        f"name them with --data, as a folder or cifar10"
    )


def inputs_of(part: Part, preprocessing: Preprocessing) -> Iterator[Tensor]:
    """float32 (B, C, size, size) in the part's order, of `fit: patches` a piece of each image."""
    placed = place(part, torch.device("cpu"), workers=0)
    first = 0
    order = in_order(len(part), batch_size=min(BATCH, most_at_once(placed)))
    for images, _ in placed.batches(order):
        yield pieces(preprocessing(images), side=preprocessing.size, first=first)
        first += len(images)
