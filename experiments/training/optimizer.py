"""A step of a recipe: the optimizer, the learning rate at each step, the average of the weights."""

import copy
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from experiments.config.recipe import Cosine, Exponential, Plateau, Steps, TrainConfig


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The recipe's optimizer over all weights that are not frozen.

    Each group has a `scale`; `set_rate` multiplies the rate by it. `rmsprop` is TensorFlow's
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
    from timm.optim import Muon, RMSpropTF  # takes seconds to import, and only these two need it

    found: torch.optim.Optimizer
    if config.optimizer == "muon":
        found = Muon(groups, lr=rate, momentum=momentum, nesterov=config.nesterov)
    else:
        found = RMSpropTF(
            groups, lr=rate, alpha=config.rms_decay, eps=config.epsilon, momentum=momentum
        )
    return found


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step, times each group's scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, such as momenta, by `<parameter's number>.<name>`."""
    states = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, state in states.items()
        for name, value in state.items()
        if isinstance(value, Tensor | int | float)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore `optimizer_tensors`; each tensor gets the memory layout of its parameter."""
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
    """Groups of weights with equal weight decay and rate, in the order of the network."""
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
    """How many parts a weight is below the head: 0 in the head, most in the stem."""
    part, _, rest = name.partition(".")
    stages = len(network.get_submodule("stages")) if hasattr(network, "stages") else 0  # type: ignore[arg-type]
    if part == "stem":
        return stages + 1
    return stages - int(rest.partition(".")[0]) if part == "stages" else 0


def epoch_rates(
    config: TrainConfig,
    *,
    epoch: int,
    epochs: int,
    steps_per_epoch: int,
    accuracies: Sequence[float] = (),
) -> list[float]:
    """The rate of each step of `epoch` (from 1) of `epochs`.

    Linear up to the peak, then the recipe's schedule. The warm-up takes at most half of the
    training, so that a very short one has a decay too. `accuracies` of the epochs before show
    plateaus.
    """
    steps = epochs * steps_per_epoch
    warmup = min(config.warmup_epochs * steps_per_epoch, steps / 2)
    peak = config.peak_rate
    first = (epoch - 1) * steps_per_epoch
    return [
        peak * (step + 1) / warmup
        if step + 1 < warmup
        else peak * _share(config, step, warmup, steps, steps_per_epoch, accuracies)
        for step in range(first, first + steps_per_epoch)
    ]


def _share(
    config: TrainConfig,
    step: int,
    warmup: float,
    steps: int,
    steps_per_epoch: int,
    accuracies: Sequence[float],
) -> float:
    """The share of the peak rate, after the warm-up."""
    schedule = config.schedule
    if isinstance(schedule, Cosine):
        progress = max(0.0, step - warmup) / (steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * progress))
    if isinstance(schedule, Exponential):
        # Counted from the first step, with the warm-up, as in TensorFlow. The small number
        # keeps the first step of an interval in it (2.4 * 5 is 12, or a little less).
        return schedule.factor ** int(step / (schedule.epochs * steps_per_epoch) + 1e-9)
    if isinstance(schedule, Steps):
        return schedule.factor ** sum(step >= at * steps - 1e-9 for at in schedule.at)
    return schedule.factor ** _plateaus(schedule, accuracies)


def _plateaus(schedule: Plateau, accuracies: Sequence[float]) -> int:
    """How often the accuracy did not rise for `patience` epochs, at most `times`."""
    found, best, waited = 0, -math.inf, 0
    for accuracy in accuracies:
        best, waited = (accuracy, 0) if accuracy > best else (best, waited + 1)
        if waited == schedule.patience:
            found, waited = found + 1, 0
    return min(found, schedule.times)


class AveragedNetwork:
    """A copy of `network` whose weights follow it: average = decay * average + (1 - decay) * now.

    In the first steps the decay is (1 + n) / (10 + n) if that is less, as in TensorFlow's
    ExponentialMovingAverage with `num_updates`; otherwise the average of a short training would
    consist mostly of the first weights.
    """

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.updates = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Update the average after one step of `network`."""
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        pairs = [
            (mine, now)
            for mine, now in zip(
                self.network.state_dict().values(), network.state_dict().values(), strict=True
            )
            if mine.is_floating_point()  # batch norm's count of batches is not averaged
        ]
        own, others = ([pair[i] for pair in pairs] for i in (0, 1))
        torch._foreach_lerp_(own, others, 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """The averaged weights and statistics, by name."""
        return self.network.state_dict()

    def restore(self, tensors: dict[str, Tensor], *, updates: int) -> None:
        """Restore `tensors` after so many `updates`."""
        self.network.load_state_dict(tensors)
        self.updates = updates
