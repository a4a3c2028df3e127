"""What is minimised, by name."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from experiments.config.recipe import TrainConfig

# (scores (N, K), labels (N,) or shares of the classes (N, K)) -> the batch's mean loss
Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(config: TrainConfig) -> Loss:
    """The recipe's loss; with label smoothing e, targets are (1 - e) * target + e / K."""

    def cross_entropy(scores: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(scores, target, label_smoothing=config.label_smoothing)

    def focal(scores: Tensor, target: Tensor) -> Tensor:
        """-(1 - p)^gamma log p of the right class (arXiv:1708.02002, equation 4)."""
        log = scores.log_softmax(1)
        shares = _shares(scores, target, config.label_smoothing)
        return -(shares * (1 - log.exp()) ** config.focal_gamma * log).sum(1).mean()

    def mse(scores: Tensor, target: Tensor) -> Tensor:
        """Of scores and one-hot targets, over all classes (arXiv:2006.07322)."""
        return F.mse_loss(scores, _shares(scores, target, config.label_smoothing))

    return {"cross_entropy": cross_entropy, "focal": focal, "mse": mse}[config.loss]


def _shares(scores: Tensor, target: Tensor, smoothing: float) -> Tensor:
    classes = scores.shape[1]
    if target.ndim == 1:
        target = F.one_hot(target, classes)
    return target.to(scores.dtype) * (1 - smoothing) + smoothing / classes
