"""The exponential moving average of a network's weights and batch norm statistics."""

import copy

import torch
from torch import Tensor, nn


class AveragedNetwork:
    """A copy of `network` whose weights follow it: average = decay * average + (1 - decay) * now.

    In the first steps the decay is (1 + n) / (10 + n) where that is less, as in TensorFlow's
    ExponentialMovingAverage with `num_updates`; without it a short training would show mostly
    where the weights began.
    """

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.updates = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        pairs = [
            (mine, now)
            for mine, now in zip(
                self.network.state_dict().values(), network.state_dict().values(), strict=True
            )
            if mine.is_floating_point()  # batch norm's count of batches is no weight
        ]
        own, others = ([pair[i] for pair in pairs] for i in (0, 1))
        torch._foreach_lerp_(own, others, 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def restore(self, tensors: dict[str, Tensor], *, updates: int) -> None:
        self.network.load_state_dict(tensors)
        self.updates = updates
