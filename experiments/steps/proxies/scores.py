"""Zero-cost scores: of an untrained network, from one batch of images at most."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from search_spaces.network import TrainingScores, weighted_loss

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU)

Score = Callable[[nn.Module, Tensor, Tensor], float]


def synflow(network: nn.Module, images: Tensor, labels: Tensor) -> float:  # noqa: ARG001
    """log of the sum of |w * dR/dw|, R = the summed scores of ones through the weights |w|.

    Batch norm is in eval mode, which before any training is the identity; so data-free
    (arXiv:2006.05467, equation 2; as a score of whole networks arXiv:2101.08134).
    """
    network.eval().double()
    signs = {name: p.detach().sign() for name, p in network.named_parameters()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    network.zero_grad()
    torch.autograd.backward(network(torch.ones_like(images[:1], dtype=torch.float64)).sum())
    total = sum(float((weight * grad).abs().sum()) for weight, grad in _gradients(network))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.mul_(signs[name])
    network.float()
    return float(torch.tensor(total, dtype=torch.float64).log())


def naswot(network: nn.Module, images: Tensor, labels: Tensor) -> float:  # noqa: ARG001
    """log |det K|, K_ij = how many activations are on for both images or off for both.

    A unit is on where its activation's input is above 0 (arXiv:2006.04647, section 3).
    """
    network.train()
    count = len(images)
    kernel = torch.zeros(count, count, dtype=torch.float64, device=images.device)

    def add(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        on = (inputs[0].detach().flatten(1) > 0).double()  # (N, units)
        kernel.add_(on @ on.T + (1 - on) @ (1 - on).T)

    hooks = [
        module.register_forward_pre_hook(add)
        for module in network.modules()
        if isinstance(module, _ACTIVATIONS)
    ]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return float(torch.linalg.slogdet(kernel).logabsdet)


def gradient_norm(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Euclidean norm of the loss's gradient by all weights, at the start (arXiv:2101.08134)."""
    network.train()
    network.zero_grad()
    output = network(images)
    assert isinstance(output, Tensor | TrainingScores)
    loss = weighted_loss(output, partial(nn.functional.cross_entropy, target=labels))
    torch.autograd.backward(loss)
    return float(torch.stack([(grad**2).sum() for _, grad in _gradients(network)]).sum().sqrt())


SCORES: dict[str, Score] = {"synflow": synflow, "naswot": naswot, "gradient_norm": gradient_norm}


def _gradients(network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """(weight, its gradient) of kernels and matrices; not of what normalisation has."""
    return [
        (weight.detach(), weight.grad)
        for weight in network.parameters()
        if weight.ndim > 1 and weight.grad is not None
    ]
