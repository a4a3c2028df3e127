"""Train a network for some epochs; report its accuracy, or another metric, after each."""

import math
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from experiments.config.recipe import Augmentation, TrainConfig
from experiments.data.images import ImageData
from experiments.training.augmentation import Preparation, mix, vary
from experiments.training.batches import place
from experiments.training.checkpoint import TrainedEpoch, TrainingState
from experiments.training.gradients import Gradients
from experiments.training.hardware import (
    choose_layout,
    choose_precision,
    compile_network,
    compiles,
    repeatable,
)
from experiments.training.judging import measure
from experiments.training.metrics import metric_of
from experiments.training.moving import resize_boxes
from experiments.training.optimizer import (
    AveragedNetwork,
    epoch_rates,
    gradient_norms,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_rate,
)
from experiments.training.quantised import JudgedIn, quantised
from experiments.training.windows import random_patches
from experiments.training.workers import Workers, batch_size
from scaler.conditions import find_device
from search_spaces.records import InputError

_LOOK = 50  # steps between two reads of the loss; each read waits for the device
_DIVERGED = 100.0  # times the loss of guessing


class TrainingDiverged(RuntimeError):  # noqa: N818
    """The loss was NaN or infinite, or far above that of guessing."""


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
    rank: int = 0,
    workers: int = 1,
    judged_in: JudgedIn = "float32",
) -> Iterator[TrainedEpoch]:
    """Train `network` in place, (N, C, R, R) float32 -> (N, num_classes); yield after each epoch.

    The learning rate follows a schedule over all `epochs`; a caller may stop iterating earlier.
    Equal weights, seed, device and number of threads give equal curves, bit for bit on a CPU (and
    on a card with `config.deterministic`, see docs/gpu.md), whatever ran before or runs between two
    epochs: every epoch draws from generators seeded with (seed, epoch), for dropout also torch's
    global one. So a training that goes on from the `state` of an earlier one continues its curve.
    If memory runs out, a batch is cut into twice as many parts, whose gradients add up to those of
    the whole (batch norm sees the parts).

    With several `workers`, processes of one torch.distributed group, each takes its share of every
    batch, so that together they see each image once an epoch; all get the same results.

    With `judged_in` int8, each epoch's accuracy and network are those of the network as int8
    computes it (see `QuantisedNetwork`).

    Raises TrainingDiverged in an epoch whose loss is not finite or 100 times that of guessing, and
    InputError for fewer than 2 images, or a batch that `workers` do not divide.
    """
    training = _Training(
        network,
        data,
        config=config,
        epochs=epochs,
        resolution=resolution,
        augmentation=augmentation,
        seed=seed,
        state=state,
        workers=Workers(rank, workers, find_device(device)),
        judged_in=judged_in,
    )
    for epoch in range(1 if state is None else state.epoch + 1, epochs + 1):
        yield training.run(epoch)


class _Training:
    """The objects that last from epoch to epoch."""

    def __init__(
        self,
        network: nn.Module,
        data: ImageData,
        *,
        config: TrainConfig,
        epochs: int,
        resolution: int,
        augmentation: Augmentation,
        seed: int,
        state: TrainingState | None,
        workers: Workers,
        judged_in: JudgedIn,
    ) -> None:
        self.network, self.config, self.epochs, self.seed = network, config, epochs, seed
        self.augmentation, self.judged_in = augmentation, judged_in
        self.workers, self.device = workers, workers.device
        self.batch_size = batch_size(len(data.train), config, workers=workers.count)
        self.steps = len(data.train) // self.batch_size  # an incomplete batch is dropped
        self.data, self.num_classes = data, data.num_classes
        self.train, self.validation = (
            place(part, self.device) for part in (data.train, data.validation)
        )
        if config.batch_norm_momentum is not None:
            for module in network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.momentum = config.batch_norm_momentum
        layout = self._layout(resolution, data.channels, state)
        self.channels_last = layout == torch.channels_last
        network.to(self.device).to(memory_format=layout)
        self.prepare = Preparation.of(
            data.statistics,
            resolution=resolution,
            device=self.device,
            layout=layout,
            patches=data.patches,
        )
        self.optimizer = make_optimizer(network, config)
        self.average = (
            None if config.ema_decay is None else AveragedNetwork(network, decay=config.ema_decay)
        )
        self.accuracies: list[float] = []
        self.task, self.metric = data.task, metric_of(config.metric, data.task)
        if self.augmentation.mixes and data.task == "segmentation":
            raise InputError(
                "mixup and cutmix mix the labels of whole images, but the data have masks; set "
                "both to 0 in train.augmentation"
            )
        self.gradients = Gradients(config, data=data, device=self.device, workers=workers.count)
        if state is not None:
            self._restore(state)
        self.compiled = False
        self.model = network
        if self._pays(None):
            self._compile()
        self.model = workers.wrapped(self.model)

    def run(self, epoch: int) -> TrainedEpoch:
        """Train for one epoch, and measure the result."""
        started = time.perf_counter()
        with repeatable(self.config.deterministic):
            train_loss, train_accuracy, norms = self._train(epoch)
            evaluated = self._evaluated()
            accuracy = self._accuracy(evaluated)
        self.accuracies.append(accuracy)
        seconds = time.perf_counter() - started
        left = (self.epochs - epoch) * seconds
        cut = self.gradients.graphs and self.gradients.parts > 1  # memory ran out since then
        if cut or (not self.compiled and self.workers.count == 1 and self._pays(left)):
            self._compile()
        return TrainedEpoch(
            epoch=epoch,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            accuracy=accuracy,
            seconds=seconds,
            gradient_norms=norms,
            parts=self.gradients.parts,
            state=lambda: self._state(epoch),
            network=evaluated,
        )

    def _train(self, epoch: int) -> tuple[float, float | None, dict[str, float]]:
        """The epoch's steps: mean loss, accuracy on the training images, the first step's norms."""
        order, draws = self._seed(epoch)
        _train_mode(self.network)
        total = torch.zeros((), device=self.device)
        right = torch.zeros((), dtype=torch.float32, device=self.device)
        norms: dict[str, float] = {}
        rates = epoch_rates(
            self.config,
            epoch=epoch,
            epochs=self.epochs,
            steps_per_epoch=self.steps,
            accuracies=self.accuracies,
        )
        batches = self.train.batches(
            self.workers.share(numbers)
            for numbers in torch.split(order, self.batch_size)[: self.steps]
        )
        for step, ((images, labels), rate) in enumerate(zip(batches, rates, strict=True)):
            loss, hits = self._fill_gradients(images, labels, draws)
            if self.config.gradient_norms and not norms:
                norms = gradient_norms(self.network)
            set_rate(self.optimizer, rate)
            self.gradients.step(self.network, self.optimizer)
            if self.average is not None:
                self.average.update(self.network)
            total += loss
            right += hits
            if (step + 1) % _LOOK == 0:
                self._check(float(total) / (step + 1), epoch=epoch, rate=max(rates))
        total = self.workers.summed(total) / self.workers.count
        train_loss = float(total) / self.steps
        self._check(train_loss, epoch=epoch, rate=max(rates))
        share = float(self.workers.summed(right)) / (self.steps * self.batch_size)
        return train_loss, None if self.task == "detection" else share, norms

    def _fill_gradients(
        self, images: Tensor, labels: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augment a batch and compute its gradients; its loss, and how many images are right."""
        if self.prepare.patches:
            side = self.prepare.resolution
            images, labels = random_patches(images, labels, side=side, generator=draws)
        moving = labels if labels.ndim == 3 else None  # masks or boxes
        images, moving = vary(images, moving, augmentation=self.augmentation, generator=draws)
        labels = labels if moving is None else moving
        if self.task == "detection":
            labels = resize_boxes(labels, self.prepare.resolution / images.shape[-1])
        images, targets = mix(
            images,
            labels,
            num_classes=self.num_classes,
            augmentation=self.augmentation,
            generator=draws,
        )
        found = self.gradients.of(self.model, images, labels, targets=targets, prepare=self.prepare)
        self.gradients.unscale(self.optimizer)
        return found

    def _evaluated(self) -> nn.Module:
        """The network to judge: itself, or its weights' average; in int8 a copy that rounds."""
        network = self.network if self.average is None else self.average.network
        if self.judged_in == "float32":
            return network
        self.workers.as_first(network)
        return quantised(network, self.train, prepare=self.prepare)

    def _accuracy(self, network: nn.Module) -> float:
        """The metric on the validation part."""
        measured = measure(
            network,
            self.validation,
            data=self.data,
            prepare=self.prepare,
            precision=self.gradients.precision,
            workers=self.workers,
            first=self.metric.first,
        )
        return self.metric.of(measured)

    def _check(self, loss: float, *, epoch: int, rate: float) -> None:
        if not loss < _DIVERGED * math.log(max(2, self.num_classes)):
            raise TrainingDiverged(
                f"training diverged: the loss is {loss:.4g} in epoch {epoch} at a learning "
                f"rate of up to {rate:.3g}; try a lower train.learning_rate"
            )

    def _layout(
        self, resolution: int, channels: int, state: TrainingState | None
    ) -> torch.memory_format:
        if state is not None:
            return torch.channels_last if state.channels_last else torch.contiguous_format
        shape = (self.batch_size // self.workers.count, channels, resolution, resolution)
        with repeatable(self.config.deterministic):
            return self.workers.agreed(
                lambda: choose_layout(
                    self.config.layout,
                    self.network,
                    shape=shape,
                    device=self.device,
                    precision=choose_precision(self.config.precision, self.device),
                )
            )

    def _pays(self, seconds_left: float | None) -> bool:
        if self.task == "detection":
            return False  # the number of boxes differs from batch to batch
        if self.config.deterministic and self.config.compiled == "auto":
            return False  # measured time would decide in which epoch it begins
        return compiles(self.config.compiled, device=self.device, seconds_left=seconds_left)

    def _compile(self) -> None:
        graphs = self.gradients.parts == 1 and self.workers.count == 1
        self.model = compile_network(self.network, self.device, graphs=graphs)
        self.compiled = True
        self.gradients.graphs = graphs and self.device.type == "cuda"

    def _seed(self, epoch: int) -> tuple[Tensor, torch.Generator]:
        """The epoch's order of images, and the generator that augments them.

        Every worker draws the same order, and augments its share with its own random numbers.
        """
        order_seed, global_seed = np.random.SeedSequence([self.seed, epoch]).generate_state(
            2, np.uint32
        )
        torch.manual_seed(int(global_seed) + self.workers.rank)
        draws = torch.Generator(self.device).manual_seed(int(order_seed))
        order = torch.randperm(len(self.train), generator=draws, device=self.device)
        if self.workers.rank:
            draws.manual_seed(int(order_seed) + self.workers.rank)
        return order, draws

    def _state(self, epoch: int) -> TrainingState:
        average = self.average
        return TrainingState(
            epoch=epoch,
            weights=self.network.state_dict(),
            optimizer=optimizer_tensors(self.optimizer),
            parts=self.gradients.parts,
            average={} if average is None else average.tensors(),
            updates=0 if average is None else average.updates,
            accuracies=tuple(self.accuracies),
            channels_last=self.channels_last,
            loss_scale=self.gradients.loss_scale(),
        )

    def _restore(self, state: TrainingState) -> None:
        self.network.load_state_dict(state.weights)
        restore_optimizer(self.optimizer, state.optimizer)
        if self.average is not None:
            self.average.restore(state.average, updates=state.updates)
        self.accuracies = list(state.accuracies)
        self.gradients.restore(parts=state.parts, loss_scale=state.loss_scale)


def _train_mode(network: nn.Module) -> None:
    """Batch norm whose weights are frozen stays in eval mode: its statistics are frozen too."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            frozen = module.weight is not None and not module.weight.requires_grad
            module.train(not frozen)
