"""Training on with 8 bits in mind, from trained weights: quantisation-aware fine-tuning."""

from collections.abc import Iterator

import torch
from torch import nn

from experiments.config.messages import say
from experiments.config.recipe import Augmentation, Cosine, TrainConfig
from experiments.data.images import ImageData
from experiments.export.model import Model
from experiments.training.augmentation import Preparation
from experiments.training.batches import place
from experiments.training.checkpoint import TrainedEpoch
from experiments.training.loop import train_epochs
from experiments.training.quantised import quantised
from search_spaces.records import InputError

SHARE = 0.01  # of the training's learning rate: the weights are to move by steps of 8 bits


def check_fine_tuning(model: Model, data: ImageData) -> None:
    """Raise InputError where the images are not those that the network was trained on."""
    if model.training.get("data", data.fingerprint) != data.fingerprint:
        raise InputError(
            f"'{data.name}' is not what '{model.architecture.name}' was trained on, so nobody "
            f"could say what fine-tuning gains; leave --fine-tune out, or name the images of the "
            f"training with --data"
        )


def trained_on(
    network: nn.Module, model: Model, data: ImageData, *, epochs: int
) -> Iterator[TrainedEpoch]:
    """Train `network`, a form of the model's, in place on the CPU; yield after each epoch.

    On the training images as they are, without augmentation, by the training's recipe at SHARE of
    its learning rate, falling to 0.
    """
    recipe = TrainConfig.parse(model.training.get("train", {}), source="the checkpoint's recipe")
    config = recipe.replace(
        learning_rate=SHARE * recipe.learning_rate,
        warmup_epochs=0.0,
        schedule=Cosine(),
        ema_decay=None,
        device="cpu",
        precision="float32",
        layout="contiguous",
        compiled="never",
    )
    return train_epochs(
        network,
        data,
        config=config,
        epochs=epochs,
        resolution=model.preprocessing.size,
        augmentation=Augmentation(flip=False, crop_padding=0),
        seed=int(model.training.get("seed", 0)),
        device="cpu",
    )


def fine_tuned(model: Model, data: ImageData, *, epochs: int) -> nn.Module:
    """A copy of the network, batch norm folded, trained on for `epochs` as int8 computes it.

    It is trained as `trained_on` does; the ranges are taken anew after each epoch.
    """
    cpu = torch.device("cpu")
    prepare = Preparation.of(
        data.statistics, resolution=model.preprocessing.size, device=cpu, patches=data.patches
    )
    images = place(data.train, cpu)
    rounds = quantised(model.network, images, prepare=prepare)
    for result in trained_on(rounds, model, data, epochs=epochs):
        say(
            f"fine-tuning: epoch {result.epoch} of {epochs}, validation {model.metric.label} in "
            f"int8 {result.accuracy:.4f}"
        )
        rounds.take_ranges(images, prepare=prepare)
    return rounds.network.requires_grad_(False)
