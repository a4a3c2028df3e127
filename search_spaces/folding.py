"""Batch norm folded into the convolution right before it: the same network, for inference."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from search_spaces.blocks.convolution import ConvolutionLayer

_PASSED = (nn.Identity, nn.Dropout)  # nothing happens there in eval mode


def fold_batch_norm(network: nn.Module) -> int:
    """Fold every batch norm right behind a convolution, in place; return how many were.

    A folded norm is an identity afterwards, and its convolution has a bias. Norms before their
    convolution, as in pre-activation layers, stay. The network is in eval mode afterwards and
    cannot be trained as before. Which are folded follows from the architecture alone.
    """
    network.eval()
    folded = 0
    for parent in network.modules():
        if not isinstance(parent, nn.Sequential | ConvolutionLayer):
            continue  # elsewhere, children need not run in their order
        children = [(n, c) for n, c in parent.named_children() if not isinstance(c, _PASSED)]
        for (place, convolution), (norm_place, norm) in pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, place, _folded(convolution, norm))
                setattr(parent, norm_place, nn.Identity())
                folded += 1
    return folded


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """y = (conv(x) - mean) / sqrt(var + eps) * weight + bias, as one convolution."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    with torch.no_grad():  # in double precision, so that only the last rounding differs
        factor = norm.weight.double() / (variance.double() + norm.eps).sqrt()
        before: Tensor | float = 0.0 if convolution.bias is None else convolution.bias.double()
        bias = norm.bias.double() + (before - mean.double()) * factor
        weight = convolution.weight.double() * factor.view(-1, 1, 1, 1)
        convolution.weight.copy_(weight)
        convolution.bias = nn.Parameter(bias.to(convolution.weight.dtype))
    return convolution
