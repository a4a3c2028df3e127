"""A network as int8 computes it, simulated in float: every weight and map is rounded to 8 bits.

It follows ONNX Runtime's static quantisation, with which `scaler export --int8` writes a file:
batch norm is folded, weights have a scale for each channel, maps have one range, measured on
calibration images. The rounding is torch's `fake_quantize_*`, which passes gradients on, so a
network can also be trained with it. (torch.ao's modes are deprecated; torchao's first export a
graph, which takes seconds for each network and needs a quantiser of our own.)
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from experiments.training.augmentation import Preparation
from experiments.training.batches import Placed, most_at_once
from experiments.training.windows import pieces
from search_spaces.folding import fold_batch_norm

Rounded = Callable[[Tensor], Tensor]
Maps = Callable[[Tensor], tuple[Tensor, Rounded]]  # a rounded map, and its rounding for others
Weight = Callable[[Tensor, int], Tensor]  # of a weight and the axis of its output channels
JudgedIn = Literal["float32", "int8"]
IMAGES = 512  # for calibration; docs/export.md has the loss by int8
_WEIGHTED = {"conv2d": 0, "linear": 0, "conv_transpose2d": 1}  # that axis
# Functions that read rounded maps. Others pass their input on: an activation like ReLU ends the
# layer before it, whose sums are rounded after it; a maximum is one of its (rounded) inputs.
_ROUNDED = {"add", "mul", "sub", "rsub", "cat", "mean", "sigmoid", "silu", "batch_norm"}
_ROUNDED |= {"adaptive_avg_pool2d", "group_norm", *_WEIGHTED}
# These compute in integers of one scale: their output is rounded like their input.
_KEPT = {"avg_pool2d", "interpolate"}


def calibration_numbers(count: int) -> np.ndarray:
    """Which of `count` training images give the ranges: IMAGES of a fixed shuffle, rising."""
    return np.sort(np.random.RandomState(0).permutation(count)[:IMAGES])


class QuantisedNetwork(nn.Module):
    """A copy of `network` in eval mode, batch norm folded, that rounds as int8 does.

    Its output is that of the network in eval mode, also while it is trained.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        fold_batch_norm(self.network)
        for module in self.network.modules():  # remaining norms keep their statistics
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
        self._ranges: list[tuple[Tensor, Tensor]] = []  # of each rounding, in the order of the run

    def train(self, mode: bool = True) -> Self:
        """Dropout and norms stay as in eval mode: their int8 file has none of them."""
        super().train(mode)
        self.network.eval()
        return self

    def calibrate(self, batches: Iterable[Tensor]) -> Self:
        """Measure the maps' ranges on prepared images, each (B, C, R, R)."""
        found: list[tuple[Tensor, Tensor]] = []
        with torch.no_grad():
            for images in batches:
                own: list[tuple[Tensor, Tensor]] = []
                self._run(images, partial(_observed, found=own), weight=_exact)
                found = [_joined(*pair) for pair in zip(found or own, own, strict=True)]
        self._ranges = [_scale(*each) for each in found]
        return self

    def take_ranges(self, train: Placed, *, prepare: Preparation) -> Self:
        """Calibrate on the training images of `calibration_numbers`."""
        return self.calibrate(_calibration(train, prepare))

    def forward(self, x: Tensor) -> Tensor:
        """The scores of images (N, C, R, R)."""
        assert self._ranges, "calibrate first"
        ranges = iter(self._ranges)
        return self._run(x, lambda y: _stepped(y, *next(ranges)), weight=_rounded_weight)

    def _run(self, x: Tensor, maps: Maps, *, weight: Weight) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            rounding = _Rounding(maps, weight)
            with rounding:
                scores = self.network(x)
            return rounding.rounded(scores)


class _Rounding(TorchFunctionMode):
    """Rounds the inputs of the functions in _ROUNDED, maps by `maps`, weights by `weight`."""

    def __init__(self, maps: Maps, weight: Weight) -> None:
        super().__init__()
        self._maps, self._weight = maps, weight

    def rounded(self, x: Tensor) -> Tensor:
        """`x` in steps of its range, unless it is rounded already."""
        return self._first(x)[0]

    def _first(self, x: Tensor) -> tuple[Tensor, Rounded]:
        again: Rounded | None = getattr(x, "rounded_by", None)
        return self._maps(x) if again is None else (x, again)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.__name__
        if name in _KEPT:
            x, again = self._first(args[0])
            x = again(func(x, *args[1:], **(kwargs or {})))
            x.rounded_by = again  # type: ignore[attr-defined]
            return x
        if name not in _ROUNDED:
            return func(*args, **(kwargs or {}))
        if name in _WEIGHTED:
            x, weight, *rest = args
            args = (self.rounded(x), self._weight(weight, _WEIGHTED[name]), *rest)
        elif name == "silu":  # in an ONNX file it is these two steps
            x = self.rounded(args[0])
            return x * self.rounded(torch.sigmoid(x))
        elif name == "group_norm":  # these three
            x = self.rounded(func(self.rounded(args[0]), args[1], eps=kwargs["eps"]))
            factor, shift = (
                self._weight(kwargs[key].view(1, -1, 1, 1), 0) for key in ("weight", "bias")
            )
            return self.rounded(x * factor) + shift
        elif name == "batch_norm":  # it stays in float, but its input is rounded
            args = (self.rounded(args[0]), *args[1:])
        else:
            args = tuple(self._all(value) for value in args)
        return func(*args, **(kwargs or {}))

    def _all(self, value: Any) -> Any:
        """Rounds maps, also those in a list, as for `cat`; numbers stay."""
        if isinstance(value, list | tuple):
            return type(value)(self._all(each) for each in value)
        floats = isinstance(value, Tensor) and value.is_floating_point()
        return self.rounded(value) if floats else value


def _exact(weight: Tensor, _: int) -> Tensor:
    return weight


def _rounded_weight(weight: Tensor, axis: int) -> Tensor:
    """-127 to 127 times a scale for each channel."""
    others = [i for i in range(weight.ndim) if i != axis]
    scale = (weight.detach().abs().amax(others) / 127).clamp_min(torch.finfo(weight.dtype).tiny)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, axis, -127, 127)


def _observed(x: Tensor, *, found: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Rounded]:
    found.append(torch.aminmax(x))
    return x, lambda y: y


def _stepped(x: Tensor, scale: Tensor, zero: Tensor) -> tuple[Tensor, Rounded]:
    def rounded(y: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(y, scale, zero, -128, 127)

    return rounded(x), rounded


def _calibration(train: Placed, prepare: Preparation) -> Iterator[Tensor]:
    """The network's inputs from the images that give the ranges, (B, C, R, R)."""
    numbers = torch.from_numpy(calibration_numbers(len(train)))
    order = torch.split(numbers, most_at_once(train))
    first = 0
    for images, _ in train.batches(order):
        whole = prepare.normalised(images) if prepare.cuts(images) else prepare(images)
        yield pieces(whole, side=prepare.resolution, first=first)
        first += len(images)


def _joined(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return torch.minimum(first[0], second[0]), torch.maximum(first[1], second[1])


def _scale(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The size of a step, and the integer for 0, which is always in the range."""
    low, high = low.clamp_max(0.0), high.clamp_min(0.0)
    scale = ((high - low) / 255).clamp_min(torch.finfo(low.dtype).tiny)
    return scale, (-128 - low / scale).round().to(torch.int32)


def quantised(network: nn.Module, train: Placed, *, prepare: Preparation) -> QuantisedNetwork:
    """`network` as int8 computes it, with the ranges of the training images `train`."""
    return QuantisedNetwork(network).take_ranges(train, prepare=prepare)
