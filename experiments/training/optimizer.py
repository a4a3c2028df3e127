"""The optimizer of a recipe: which weights decay, at what rate each learns, one step of it."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from experiments.config.recipe import TrainConfig


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The recipe's optimizer over all weights that are not frozen.

    Each group has a `scale`, by which `set_rate` multiplies the rate. `rmsprop` is TensorFlow's
    (epsilon under the root, squares start at 1, the rate inside the momentum) and `muon`
    (kellerjordan.github.io/posts/muon; matrices orthogonalised, the rest AdamW) timm's.
    """
    groups = _groups(network, config)
    rate, momentum = config.peak_rate, config.momentum
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(momentum, 0.999), foreach=True)
    if config.optimizer == "sgd":
        nesterov = config.nesterov and momentum > 0  # torch accepts it only with a momentum
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov, foreach=True)
    from timm.optim import Muon, RMSpropTF  # seconds to import, for these two alone

    found: torch.optim.Optimizer
    if config.optimizer == "muon":
        found = Muon(groups, lr=rate, momentum=momentum, nesterov=config.nesterov)
    else:
        found = RMSpropTF(
            groups, lr=rate, alpha=config.rms_decay, eps=config.epsilon, momentum=momentum
        )
    return found


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step, scaled group by group."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimizer remembers, as its momenta, by `<parameter's number>.<name>`."""
    states = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, state in states.items()
        for name, value in state.items()
        if isinstance(value, Tensor | int | float)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; each tensor lies in memory as its parameter does."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        parameter = parameters[int(number)]
        if parameter.shape == tensor.shape:
            value = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        else:  # a count of steps, which torch's optimizers keep on the CPU and timm's as a number
            value = tensor.clone()
        optimizer.state[parameter][name] = value


def gradient_norms(network: nn.Module) -> dict[str, float]:
    """The norm of each kernel's gradient by `gradient_norm.NAME`, from image to scores."""
    return {
        f"gradient_norm.{name}": float(weight.grad.norm())
        for name, weight in network.named_parameters()
        if weight.ndim > 1 and weight.grad is not None
    }


def _groups(network: nn.Module, config: TrainConfig) -> list[dict[str, object]]:
    """Weights that decay and learn alike, in the order of the network."""
    norms = {
        id(weight)
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        for weight in module.parameters()
    }
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in _trained(network):
        decays = {
            "kernels": weight.ndim > 1,
            "all_but_norm": id(weight) not in norms,
            "all": True,
        }[config.decayed]
        scale = config.layer_decay ** _below_the_head(name, network)
        found.setdefault((config.weight_decay * decays, scale), []).append(weight)
    return [
        {"params": weights, "weight_decay": decay, "scale": scale}
        for (decay, scale), weights in found.items()
    ]


def _trained(network: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    return [(name, w) for name, w in network.named_parameters() if w.requires_grad]


def _below_the_head(name: str, network: nn.Module) -> int:
    """How many parts lie between a weight and the head: 0 in the head, most in the stem."""
    part, _, rest = name.partition(".")
    stages = len(network.get_submodule("stages")) if hasattr(network, "stages") else 0  # type: ignore[arg-type]
    if part == "stem":
        return stages + 1
    return stages - int(rest.partition(".")[0]) if part == "stages" else 0
