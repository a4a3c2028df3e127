"""One step of a network, ready to run again and again: an inference, or a step of training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from scaler.conditions import Conditions
from search_spaces.architecture import Architecture
from search_spaces.heads import Given
from search_spaces.network import Network, build_network, weighted_loss

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Step = Callable[[], None]


@contextmanager
def compiling(networks: int) -> Iterator[None]:
    """Allows so many networks to be compiled inside. RuntimeError if one would run uncompiled.

    torch compiles 8 of one class in a process (a change of mode counts as one more). It runs the
    next ones uncompiled, and says so only in its log.
    """
    limit = 8 + 2 * networks
    torch._dynamo.reset()
    try:
        with torch._dynamo.config.patch(
            recompile_limit=limit,
            accumulated_recompile_limit=256 + limit,
            fail_on_recompile_limit_hit=True,
        ):
            yield
    finally:
        torch._dynamo.reset()


def make_step(
    architecture: Architecture,
    conditions: Conditions,
    device: torch.device,
    num_classes: int,
    in_channels: int,
) -> Step:
    """The step that `conditions` ask for: each call is one, with the same random images."""
    channels_last = conditions.memory_format == "channels_last"
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = build_network(architecture, num_classes=num_classes, in_channels=in_channels)
    given = _given(architecture, conditions.batch_size, device)
    side = architecture.resolution
    images = torch.randn(conditions.batch_size, in_channels, side, side)
    _settle_batch_norm(network, torch.randn(2, in_channels, side, side))
    dtype = _DTYPES[conditions.precision]
    if conditions.training_step:
        network = network.train().to(device).to(memory_format=layout)
        images = images.to(device).contiguous(memory_format=layout)
        compiled = conditions.compiled
        return _training_step(network, images, dtype, num_classes, given, compiled=compiled)
    network = network.eval().to(device, dtype).to(memory_format=layout)
    images = images.to(device, dtype).contiguous(memory_format=layout)
    run = torch.compile(network) if conditions.compiled else network

    def infer() -> None:
        with torch.inference_mode():
            run(images, **given)

    return infer


def _given(architecture: Architecture, images: int, device: torch.device) -> dict[str, Any]:
    """The network's inputs besides images: regions for each image, unless it proposes them."""
    predictor = getattr(architecture.head, "predictor", None)
    if not isinstance(predictor, Given):
        return {}
    side = architecture.resolution
    region = torch.tensor([[side / 4, side / 4, side / 2, side / 2]], device=device)
    return {"regions": [region.repeat(predictor.count, 1)] * images}


def _training_step(
    network: Network,
    images: torch.Tensor,  # (N, C, R, R)
    dtype: torch.dtype,
    num_classes: int,
    given: dict[str, Any],
    *,
    compiled: bool,
) -> Step:
    """Forward, backward and SGD with momentum; the rate is too small to diverge."""
    kind = images.device.type
    loss_of = _loss_of(network, images, num_classes, given)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9)
    grad_scaler = torch.amp.GradScaler(kind, enabled=dtype == torch.float16)
    run = torch.compile(network) if compiled else network

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(kind, dtype=dtype, enabled=dtype != torch.float32):
            loss = loss_of(run)
        torch.autograd.backward(grad_scaler.scale(loss))
        grad_scaler.step(optimizer)
        grad_scaler.update()

    return train


def _loss_of(
    network: Network, images: torch.Tensor, num_classes: int, given: dict[str, Any]
) -> Callable[[Callable[..., Any]], torch.Tensor]:
    """The loss that a step minimises, with random labels for images or pixels, or random boxes.

    It takes the network in the form that is run.
    """
    count, _, height, width = images.shape
    task, device = network.architecture.task, images.device
    if task == "detection":
        corners = torch.tensor([[width / 4, height / 4, width / 2, height / 2]], device=device)
        labels = torch.zeros(1, dtype=torch.int64, device=device)
        targets = [{"boxes": corners, "labels": labels} for _ in range(count)]
        return lambda run: torch.stack([*run(images, targets, **given).values()]).sum()
    shape = (count, height, width) if task == "segmentation" else (count,)
    labels = torch.randint(num_classes, shape, device=device)
    return lambda run: weighted_loss(run(images), lambda scores: cross_entropy(scores, labels))


@torch.no_grad()
def _settle_batch_norm(network: Network, images: torch.Tensor) -> None:
    """Running statistics from one batch, as a trained network has its own.

    Without them the maps of a fresh network shrink from layer to layer, down to numbers so small
    that a CPU computes with them many times slower.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train().raw(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
