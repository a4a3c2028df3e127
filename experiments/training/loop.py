"""Train a classifier for some epochs, telling its accuracy after each."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.augmentation import Augmentation
from experiments.config import TrainConfig
from experiments.data.images import ImageData, Part
from experiments.training.accuracy import measure_accuracy
from experiments.training.augmentation import Preparation, augment
from experiments.training.device import choose_device, deterministic_cudnn, memory_format
from experiments.training.recipe import (
    gradient_norms,
    learning_rates,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    take_step,
)
from experiments.training.stream import place
from search_spaces.network import TrainingScores, weighted_loss
from search_spaces.records import InputError


@dataclass(frozen=True)
class TrainingState:
    """What a training goes on from: weights and optimizer after `epoch`.

    `parts` is into how many pieces a batch is cut so that it fits into memory.
    """

    epoch: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    parts: int = 1


@dataclass(frozen=True)
class EpochResult:
    epoch: int  # from 1
    train_loss: float  # mean over the epoch's steps, with label smoothing
    train_accuracy: float  # on the augmented images of the same steps, in train mode
    accuracy: float  # on the validation part, in [0, 1]
    seconds: float  # wall time of this epoch with its evaluation
    gradient_norms: dict[str, float]  # by weight, at its first step; empty unless asked for
    parts: int  # of a batch; more than 1 where memory ran out
    state: Callable[[], TrainingState] = field(repr=False, compare=False)  # before the next epoch


class TrainingDiverged(RuntimeError):  # noqa: N818
    """The loss was NaN or infinite."""


def train_epochs(
    network: nn.Module,
    data: ImageData,
    *,
    config: TrainConfig,
    epochs: int,
    resolution: int,
    augmentation: Augmentation,
    seed: int,
    device: str | torch.device = "auto",
    state: TrainingState | None = None,
) -> Iterator[EpochResult]:
    """Train `network` in place, (N, C, R, R) float32 -> (N, num_classes); yield after each epoch.

    The learning rate follows a schedule over all `epochs`; whoever wants fewer stops iterating.
    From the same weights, seed, device and number of threads comes the same curve, bit for bit,
    whatever ran before or runs between two epochs: every epoch draws from generators seeded with
    (seed, epoch), torch's global one among them, for dropout. So a training that goes on from a
    `state` of an earlier one continues its curve. A batch for which memory runs out is cut into
    twice as many parts, whose gradients add up to those of the whole (batch norm sees the parts).
    Raises TrainingDiverged after an epoch whose loss is not finite, and InputError for fewer than 2
    images.
    """
    device = choose_device(device)
    network.to(device).to(memory_format=memory_format(device))
    train, validation = place(data.train, device), place(data.validation, device)
    prepare = Preparation.of(data.statistics, resolution=resolution, device=device)
    optimizer = make_optimizer(network, config)
    batch_size = _batch_size(len(train), config)
    steps = len(train) // batch_size  # an epoch; what is left over of a batch is dropped
    rates = learning_rates(config, epochs=epochs, steps_per_epoch=steps)
    parts = 1
    if state is not None:
        network.load_state_dict(state.weights)
        restore_optimizer(optimizer, state.optimizer)
        parts = state.parts

    for epoch in range(1 if state is None else state.epoch + 1, epochs + 1):
        started = time.perf_counter()
        generator = _seed_epoch(seed, epoch, device)
        network.train()
        total = torch.zeros((), device=device)
        right = torch.zeros((), dtype=torch.int64, device=device)
        norms: dict[str, float] = {}
        with deterministic_cudnn():
            order = torch.randperm(len(train), generator=generator, device=device)
            batches = train.batches(torch.split(order, batch_size)[:steps])
            for (images, labels), rate in zip(batches, rates[epoch - 1], strict=True):
                images = augment(images, augmentation=augmentation, generator=generator)
                criterion = partial(F.cross_entropy, label_smoothing=config.label_smoothing)
                loss, hits, parts = _gradients(
                    network,
                    images,
                    labels,
                    prepare=prepare,
                    criterion=criterion,
                    parts=parts,
                )
                take_step(optimizer, rate=rate)
                if config.gradient_norms and not norms:
                    norms = gradient_norms(network)
                total += loss
                right += hits
            train_loss = float(total) / steps  # the only wait for the device in an epoch's steps
            if not math.isfinite(train_loss):
                raise TrainingDiverged(
                    f"training diverged: the loss is {train_loss} in epoch {epoch} at a learning "
                    f"rate of up to {max(rates[epoch - 1]):.3g}; try a lower train.learning_rate"
                )
            train_accuracy = int(right) / (steps * batch_size)
            accuracy = measure_accuracy(network, validation, prepare=prepare)
        yield EpochResult(
            epoch,
            train_loss,
            train_accuracy,
            accuracy,
            time.perf_counter() - started,
            norms,
            parts,
            partial(_state, network, optimizer, epoch, parts),
        )


def evaluate(network: nn.Module, split: Part, *, data: ImageData, resolution: int) -> float:
    """Accuracy in [0, 1] on `split`, on the device where the network is.

    `data` is what the network was trained on: its training images give mean and deviation.
    """
    device = next(network.parameters()).device
    prepare = Preparation.of(data.statistics, resolution=resolution, device=device)
    return measure_accuracy(network, place(split, device), prepare=prepare)


def _gradients(
    network: nn.Module,
    images: Tensor,  # uint8 (N, C, H, W)
    labels: Tensor,  # (N,)
    *,
    prepare: Preparation,
    criterion: Callable[..., Tensor],
    parts: int,
) -> tuple[Tensor, Tensor, int]:
    """Leave the batch's gradients in the network; its loss, its right answers, and its parts."""
    while True:
        network.zero_grad(set_to_none=True)
        total = torch.zeros((), device=images.device)
        right = torch.zeros((), dtype=torch.int64, device=images.device)
        try:
            for some, own in zip(
                images.tensor_split(parts), labels.tensor_split(parts), strict=True
            ):
                share = len(own) / len(labels)
                loss, hits = _add_gradients(network, prepare(some), own, criterion, share)
                total += loss
                right += hits
            return total, right, parts
        except torch.OutOfMemoryError:
            most = len(labels) // 2  # batch norm needs two images
            if parts >= most:
                raise
            parts = min(2 * parts, most)
        if images.is_cuda:
            torch.cuda.empty_cache()


def _add_gradients(
    network: nn.Module,
    images: Tensor,  # float32 (N, C, R, R)
    labels: Tensor,
    criterion: Callable[..., Tensor],
    share: float,
) -> tuple[Tensor, Tensor]:
    output = network(images)
    loss = weighted_loss(output, partial(criterion, target=labels)) * share
    torch.autograd.backward(loss)
    scores = output.scores if isinstance(output, TrainingScores) else output
    return loss.detach(), (scores.argmax(1) == labels).sum()


def _state(
    network: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, parts: int
) -> TrainingState:
    return TrainingState(epoch, network.state_dict(), optimizer_tensors(optimizer), parts)


def _batch_size(images: int, config: TrainConfig) -> int:
    """The whole set where it is smaller than a batch; never 1, which batch norm cannot take."""
    if images < 2:
        raise InputError(f"training needs at least 2 training images, but there is {images}")
    return min(images, config.batch_size)


def _seed_epoch(seed: int, epoch: int, device: torch.device) -> torch.Generator:
    """Seed torch's global generator, and return another for order and augmentation."""
    order_seed, global_seed = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint32)
    torch.manual_seed(int(global_seed))
    return torch.Generator(device).manual_seed(int(order_seed))
