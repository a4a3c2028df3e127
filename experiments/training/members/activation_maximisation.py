"""The inputs that excite chosen feature maps most: what a trained network has learnt to see."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.data.images import ChannelStatistics
from search_spaces.network import Network

_RATE = 0.1  # of Adam
_SMOOTHNESS = 0.2  # of the image, against the activation in its own units
_JITTER = 2  # pixels by which the image moves from step to step


@dataclass(frozen=True, eq=False)
class Maximised:
    """Images (N, C, R, R) in 0 to 1, one a channel, of the maps at one tap of `features`."""

    tap: int
    channels: tuple[int, ...]
    images: Tensor
    before: Tensor  # (N,) mean activation of the channel for the noise that it began with
    after: Tensor  # (N,) for the image


def maximise(
    network: Network,
    *,
    tap: int,
    channels: Sequence[int],
    statistics: ChannelStatistics,
    resolution: int,
    steps: int = 128,
    seed: int = 0,
) -> Maximised:
    """Gradient ascent from noise on the mean of each channel's map, in eval mode.

    Activation maximisation (Erhan et al., 2009), with the two regularisers that keep it from
    noise: a penalty on neighbouring pixels' differences, and jitter (distill.pub/2017/
    feature-visualization). `statistics` are those that the network's inputs were normalised with.
    """
    device = next(network.parameters()).device
    network.eval()
    mean, std = (
        torch.tensor(values, device=device).float().view(1, -1, 1, 1)
        for values in (statistics.mean, statistics.std)
    )
    generator = torch.Generator().manual_seed(seed)
    shape = (len(channels), mean.shape[1], resolution, resolution)
    raw = (0.1 * torch.randn(shape, generator=generator)).to(device).requires_grad_(True)
    own = torch.arange(len(channels), device=device)
    wanted = torch.tensor(list(channels), device=device)

    def activations(pixels: Tensor) -> Tensor:
        maps = network.features((pixels - mean) / std)[tap]  # (N, channels, H, W)
        return maps[own, wanted].mean((1, 2))

    with torch.no_grad():
        before = activations(raw.sigmoid())
    unit = before.abs().mean().clamp(min=1e-3)
    optimizer = torch.optim.Adam([raw], lr=_RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        moved = torch.randint(-_JITTER, _JITTER + 1, (2,), generator=generator).tolist()
        pixels = raw.sigmoid().roll(moved, (2, 3))
        loss = -activations(pixels).sum() / unit + _SMOOTHNESS * _roughness(raw)
        torch.autograd.backward(loss, inputs=[raw])
        optimizer.step()
    with torch.no_grad():
        images = raw.sigmoid()
        after = activations(images)
    return Maximised(tap, tuple(channels), images.cpu(), before.cpu(), after.cpu())


def _roughness(images: Tensor) -> Tensor:
    """The sum over images of neighbouring pixels' mean squared difference, times the pixels."""
    rows = images.diff(dim=2).pow(2).mean((1, 2, 3))
    columns = images.diff(dim=3).pow(2).mean((1, 2, 3))
    return (rows + columns).sum() * images.shape[2]
