"""The loss, and its gradients for a batch, as a whole or in parts that fit into memory."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.config.recipe import TrainConfig
from experiments.data.images import IGNORED, ImageData
from experiments.training.augmentation import Preparation
from experiments.training.hardware import (
    autocast,
    card_is_full,
    choose_precision,
    make_grad_scaler,
)
from experiments.training.moving import targets_of
from search_spaces.network import TrainingScores, weighted_loss
from search_spaces.records import InputError

# (scores (N, K), labels (N,) or shares of the classes (N, K)) -> the batch's mean loss
Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(config: TrainConfig, weights: Tensor | None = None) -> Loss:
    """The recipe's loss; with label smoothing e, targets are (1 - e) * target + e / K.

    `weights` (K,) are the weights of the classes in cross-entropy. Raises InputError for a loss
    of masks.
    """

    def cross_entropy(scores: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            scores, target, weight=weights, label_smoothing=config.label_smoothing
        )

    def focal(scores: Tensor, target: Tensor) -> Tensor:
        """-(1 - p)^gamma log p of the right class (arXiv:1708.02002, equation 4)."""
        log = scores.log_softmax(1)
        shares = _shares(scores, target, config.label_smoothing)
        return -(shares * (1 - log.exp()) ** config.focal_gamma * log).sum(1).mean()

    def mse(scores: Tensor, target: Tensor) -> Tensor:
        """Squared error of scores and one-hot targets, over all classes (arXiv:2006.07322)."""
        return F.mse_loss(scores, _shares(scores, target, config.label_smoothing))

    losses = {"cross_entropy": cross_entropy, "focal": focal, "mse": mse}
    if config.loss not in losses:
        raise InputError(
            f"train.loss {config.loss} is for masks, but the data have a label for each image; "
            f"use {', '.join(losses)}"
        )
    return losses[config.loss]


def make_mask_loss(config: TrainConfig, weights: Tensor | None = None) -> Loss:
    """The recipe's loss of scores (N, K, H, W) and masks (N, H, W); pixels of 255 do not count.

    The mean is over the pixels of known class; with `weights` (K,) it is weighted, as in torch.
    """

    def mean(values: Tensor, known: Tensor, share: Tensor | None = None) -> Tensor:
        count = known.sum() if share is None else (share * known).sum()
        return (values * known).sum() / count.clamp(min=1e-6)

    def cross_entropy(scores: Tensor, target: Tensor) -> Tensor:
        known = target != IGNORED
        target = target.masked_fill(~known, 0)
        values = F.cross_entropy(
            scores, target, weight=weights, reduction="none", label_smoothing=config.label_smoothing
        )
        return mean(values, known, None if weights is None else weights[target])

    def focal(scores: Tensor, target: Tensor) -> Tensor:
        known, log = target != IGNORED, scores.log_softmax(1)
        shares = _mask_shares(scores, target, config.label_smoothing)
        return mean(-(shares * (1 - log.exp()) ** config.focal_gamma * log).sum(1), known)

    def mse(scores: Tensor, target: Tensor) -> Tensor:
        shares = _mask_shares(scores, target, config.label_smoothing)
        return mean((scores - shares).square().mean(1), target != IGNORED)

    def dice(scores: Tensor, target: Tensor) -> Tensor:
        """1 - the mean Dice of the classes that occur, from probabilities over the batch."""
        known = (target != IGNORED)[:, None]
        told, truth = scores.softmax(1) * known, _mask_shares(scores, target, 0.0) * known
        sums = [x.sum((0, 2, 3)) for x in (told * truth, told, truth)]
        there = sums[2] > 0
        values = (2 * sums[0] + 1) / (sums[1] + sums[2] + 1)  # 1: smooth if a class is rare
        return 1 - (values * there).sum() / there.sum().clamp(min=1)

    def both(scores: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(scores, target) + dice(scores, target)

    by_name = {"cross_entropy": cross_entropy, "focal": focal, "mse": mse, "dice": dice}
    chosen = {**by_name, "cross_entropy_dice": both}[config.loss]

    def loss(scores: Tensor, target: Tensor) -> Tensor:
        if target.shape[1:] != scores.shape[2:]:
            # At the middle of each pixel, like the image; `nearest` takes the upper left corner.
            target = F.interpolate(
                target[:, None].float(), size=scores.shape[2:], mode="nearest-exact"
            )[:, 0]
        return chosen(scores, target.long())

    return loss


def _mask_shares(scores: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """(N, K, H, W); a pixel without a class has those of class 0, which do not count."""
    classes = scores.shape[1]
    known = target.masked_fill(target == IGNORED, 0)
    shares = F.one_hot(known, classes).movedim(-1, 1).to(scores.dtype)
    return shares * (1 - smoothing) + smoothing / classes


def weights_of(config: TrainConfig, data: ImageData) -> Tensor | None:
    """The classes' weights, float32 (K,), by the recipe's `class_weights`; None: all equal.

    A class that does not occur has weight 1.
    """
    if config.class_weights == "none":
        return None
    counts = torch.from_numpy(data.class_counts()).double()
    there = counts > 0
    middle = counts[there].quantile(0.5) if config.class_weights == "median_frequency" else None
    scale = counts.sum() / there.sum() if middle is None else middle
    return torch.where(there, scale / counts, 1.0).float()


def _shares(scores: Tensor, target: Tensor, smoothing: float) -> Tensor:
    classes = scores.shape[1]
    if target.ndim == 1:
        target = F.one_hot(target, classes)
    return target.to(scores.dtype) * (1 - smoothing) + smoothing / classes


class Gradients:
    """Computes gradients batch by batch; remembers into how many `parts` a batch is cut."""

    def __init__(
        self,
        config: TrainConfig,
        *,
        device: torch.device,
        workers: int,
        data: ImageData | None = None,
    ) -> None:
        """`data` decide whether images or pixels have classes, and how common each class is.

        Without them images have classes, and all classes count the same.
        """
        self.parts = config.accumulation
        self._clip_norm = config.clip_norm
        weights = None if data is None else weights_of(config, data)
        weights = None if weights is None else weights.to(device)
        self._task = "classification" if data is None else data.task
        make = make_mask_loss if self._task == "segmentation" else make_loss
        self._loss = make(config, weights)
        self._device = device
        self.precision = choose_precision(config.precision, device)
        self.graphs = False  # whether the model is replayed as CUDA graphs
        self._grad_scaler = make_grad_scaler(device, self.precision)
        self._workers = workers

    def of(
        self,
        model: nn.Module,
        images: Tensor,  # uint8 (N, C, H, W)
        labels: Tensor,  # (N,), masks (N, H, W), or boxes (N, P, 5) of the prepared images
        *,
        targets: Tensor,  # the labels, or (N, K) shares of the classes if images are mixed
        prepare: Preparation,
    ) -> tuple[Tensor, Tensor]:
        """Leaves the batch's gradients in the model; returns the loss and how many are right.

        An image with a mask counts by its share of right pixels. One with boxes never counts: in
        training a detector returns losses and no boxes.

        If memory runs out, batches are cut into twice as many parts from then on; not with several
        workers, as the others would wait for ever.
        """
        self.parts = min(self.parts, max(1, len(labels) // 2))  # batch norm needs two images
        while True:
            if self.graphs and self.parts > 1:  # see compile_network
                model = getattr(model, "_orig_mod", model)
            elif self.graphs:
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            model.zero_grad(set_to_none=True)
            total = torch.zeros((), device=images.device)
            right = torch.zeros((), dtype=torch.float32, device=images.device)
            cut = [tensor.tensor_split(self.parts) for tensor in (images, labels, targets)]
            try:
                for i, (some, own, target) in enumerate(zip(*cut, strict=True)):
                    last = i == self.parts - 1
                    with nullcontext() if last else _unsynced(model):
                        share = len(own) / len(labels)
                        loss, hits = self._add(model, prepare(some), own, target, share)
                    total += loss
                    right += hits
                return total, right
            except RuntimeError as error:
                most = len(labels) // 2
                if not card_is_full(error) or self.parts >= most or self._workers > 1:
                    raise
                self.parts = min(2 * self.parts, most)
            if images.is_cuda:
                torch.cuda.empty_cache()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Removes float16's scaling from the gradients."""
        if self._grad_scaler is not None:
            self._grad_scaler.unscale_(optimizer)

    def step(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Clip if the recipe says so, and take a step.

        With float16, a batch whose gradients overflow is left out, and the loss's scale lowered.
        """
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), self._clip_norm)
        if self._grad_scaler is None:
            optimizer.step()
            return
        self._grad_scaler.step(optimizer)
        self._grad_scaler.update()

    def loss_scale(self) -> dict[str, float]:
        """The loss's scale, to go on from; empty unless float16 is used."""
        found = {} if self._grad_scaler is None else self._grad_scaler.state_dict()
        return {name: float(value) for name, value in found.items()}

    def restore(self, *, parts: int, loss_scale: dict[str, float]) -> None:
        """Restore these from a state; `loss_scale` is empty without float16."""
        self.parts = parts
        if self._grad_scaler is not None and loss_scale:
            self._grad_scaler.load_state_dict(loss_scale)

    def _add(
        self,
        model: nn.Module,
        images: Tensor,  # float32 (N, C, R, R)
        labels: Tensor,
        targets: Tensor,
        share: float,
    ) -> tuple[Tensor, Tensor]:
        if self._task == "detection":
            with autocast(self._device, self.precision):
                losses = model(images, targets_of(targets))
            loss = torch.stack([each.float() for each in losses.values()]).sum() * share
            self._backward(loss)
            return loss.detach(), torch.zeros((), device=loss.device)
        with autocast(self._device, self.precision):
            output = model(images)
        output = _float(output)
        loss = weighted_loss(output, lambda scores: self._loss(scores, targets)) * share
        self._backward(loss)
        scores = output.scores if isinstance(output, TrainingScores) else output
        return loss.detach(), _right(scores.detach(), labels)

    def _backward(self, loss: Tensor) -> None:
        scaled = loss if self._grad_scaler is None else self._grad_scaler.scale(loss)
        torch.autograd.backward(scaled)


def _right(scores: Tensor, labels: Tensor) -> Tensor:
    """How many images are right; with masks the sum of their shares of right pixels."""
    if labels.ndim == 1:
        return (scores.argmax(1) == labels).sum()
    if scores.shape[2:] != labels.shape[1:]:
        scores = F.interpolate(scores, size=labels.shape[1:], mode="bilinear")
    known = labels != IGNORED
    share = ((scores.argmax(1) == labels) & known).sum() / known.sum().clamp(min=1)
    return share * len(labels)


def _unsynced(model: nn.Module) -> AbstractContextManager[Any]:
    """Gradients of all but the last part stay with their worker."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return model.no_sync()
    return nullcontext()


def _float(output: Any) -> Any:
    """Scores in float32, whatever autocast gave: in 16 bits a loss loses small differences."""
    if isinstance(output, TrainingScores):
        auxiliary = [(weight, scores.float()) for weight, scores in output.auxiliary]
        return TrainingScores(output.scores.float(), auxiliary)
    return output.float()
