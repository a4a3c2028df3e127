"""Arithmetic and compilation: what makes a training faster, and when it pays."""

from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import nn

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# Assumed of a GPU, not measured here: a minute to compile forward and backward with CUDA graphs,
# a quarter of the time saved from then on.
_COMPILING = 60.0  # seconds
_SAVED = 0.25
_SAFETY = 2.0  # the estimate must pay so many times over


def choose_precision(setting: str, device: torch.device) -> torch.dtype | None:
    """The type of autocast, or None for plain float32.

    `auto` is bfloat16 on a GPU that has it (compute capability 8.0 and above) and float32
    elsewhere: a CPU gains by bfloat16 only where it has instructions for it.
    """
    if setting != "auto":
        return _TYPES.get(setting)
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return None


def autocast(device: torch.device, precision: torch.dtype | None) -> AbstractContextManager[object]:
    if precision is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


def make_grad_scaler(
    device: torch.device, precision: torch.dtype | None
) -> torch.amp.GradScaler | None:
    """For float16 alone, whose range small gradients fall out of."""
    return torch.amp.GradScaler(device.type) if precision == torch.float16 else None


def compiles(setting: str, *, device: torch.device, seconds_left: float | None) -> bool:
    """Whether the training is to be compiled now.

    `always`: from the start. `auto`: on a GPU, once an epoch has shown how long the rest takes
    (`seconds_left`), if compiling saves twice what it costs. On a CPU never of itself: another
    arithmetic in mid-training would end the equality of continued and uninterrupted trainings.
    """
    if setting == "auto":
        return (
            device.type == "cuda"
            and seconds_left is not None
            and seconds_left * _SAVED > _SAFETY * _COMPILING
        )
    return setting == "always"


def compile_network(network: nn.Module, device: torch.device) -> nn.Module:
    """The same weights behind a compiled forward; on a GPU replayed as CUDA graphs."""
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    return cast(nn.Module, torch.compile(network, mode=mode))
