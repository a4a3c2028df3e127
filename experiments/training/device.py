"""Where training runs, and what keeps it repeatable and fast there."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from search_spaces.records import InputError


def choose_device(name: str | torch.device) -> torch.device:
    """`auto` is a GPU where there is one. InputError for `cuda` where there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device is 'cuda', but torch finds no GPU here; use 'auto' or 'cpu'")
    return device


@contextmanager
def deterministic_cudnn() -> Iterator[None]:
    """cuDNN's deterministic algorithms inside; the flags found are put back."""
    cudnn = torch.backends.cudnn
    found = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = found
