"""The optimizer and its learning rate at each step."""

import math

import torch
from torch import Tensor, nn

from experiments.config import TrainConfig


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.SGD:
    """SGD with Nesterov momentum; no weight decay on biases and batch norm's scale and shift."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.momentum > 0,  # torch accepts Nesterov only with a momentum
        foreach=True,
    )


def take_step(optimizer: torch.optim.Optimizer, *, rate: float) -> None:
    """One update along the gradients at learning rate `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimizer remembers, as its momenta, by `<parameter's number>.<name>`."""
    states = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value
        for number, state in states.items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; each tensor lies in memory as its parameter does."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        parameter = parameters[int(number)]
        like = parameter if parameter.shape == tensor.shape else tensor
        optimizer.state[parameter][name] = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)


def gradient_norms(network: nn.Module) -> dict[str, float]:
    """The norm of the last step's gradient of each kernel or matrix, from image to scores."""
    return {
        name: float(weight.grad.norm())
        for name, weight in network.named_parameters()
        if weight.ndim > 1 and weight.grad is not None
    }


def learning_rates(config: TrainConfig, *, epochs: int, steps_per_epoch: int) -> list[list[float]]:
    """The rate of each step of each epoch: linear up to the peak, then half a cosine to 0.

    The cosine is that of arXiv:1608.03983. The warm-up takes at most half of the training, so
    that a very short one has a decay too.
    """
    steps = epochs * steps_per_epoch
    warmup = min(config.warmup_epochs * steps_per_epoch, steps / 2)

    def rate(step: int) -> float:
        if step < warmup:
            return config.learning_rate * min(1.0, (step + 1) / warmup)
        progress = (step - warmup) / (steps - warmup)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    return [
        [rate(epoch * steps_per_epoch + step) for step in range(steps_per_epoch)]
        for epoch in range(epochs)
    ]
