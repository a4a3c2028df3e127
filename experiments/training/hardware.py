"""The device of a training, its number format, compilation, and layout in memory."""

import copy
import ctypes
import hashlib
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, cast

import torch
from torch import Tensor, nn

from experiments.data.decoding import cache_folder
from scaler.conditions import cpu_name
from search_spaces.network import DetectionNetwork, weighted_loss
from search_spaces.records import InputError

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's mallopt, see malloc.h


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors, for the next ones.

    By default glibc returns freed blocks to the system, at the latest those above 32 MB, and the
    system clears every page again. A training frees and takes such blocks in every step: at 64
    pixels this took half of its time. With another C library nothing happens.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """If `wanted`, torch computes inside so that equal steps give equal bits on a card.

    Otherwise torch's flags stay as they are. They are restored at the end. Raises InputError if an
    operator has no such form (https://docs.pytorch.org/docs/stable/notes/randomness.html).
    """
    if not wanted:
        yield
        return
    cudnn = torch.backends.cudnn
    filling: Any = torch.utils.deterministic
    found = cudnn.benchmark, cudnn.deterministic, filling.fill_uninitialized_memory
    mode = torch.get_deterministic_debug_mode()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    cudnn.benchmark, cudnn.deterministic = False, True
    torch.use_deterministic_algorithms(True)
    filling.fill_uninitialized_memory = False  # only for finding errors, and slow
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        told = str(error).split(", but you set")[0].splitlines()[0]
        raise InputError(
            f"train.deterministic is true, but {told}; set it to false, or leave such layers out"
        ) from error
    finally:
        cudnn.benchmark, cudnn.deterministic, filling.fill_uninitialized_memory = found
        torch.set_deterministic_debug_mode(mode)


# Messages of CUDA's libraries for a full card; torch's own allocator has an exception type.
_FULL = ("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")


def card_is_full(error: BaseException) -> bool:
    """Whether memory of the device ran out, also if another process took it.

    Then cuBLAS, cuDNN and the driver cannot allocate theirs, and raise a RuntimeError.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)


_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# Assumed of a GPU, not measured here: a minute to compile forward and backward with CUDA graphs,
# a quarter of the time saved from then on.
_COMPILING = 60.0  # seconds
_SAVED = 0.25
_SAFETY = 2.0  # the estimated saving must be so many times the cost


def choose_precision(setting: str, device: torch.device) -> torch.dtype | None:
    """The type of autocast, or None for plain float32.

    `auto` is bfloat16 on a GPU that has it (compute capability 8.0 and above) and float32
    elsewhere: a CPU is faster with bfloat16 only if it has instructions for it.
    """
    if setting != "auto":
        return _TYPES.get(setting)
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return None


def autocast(device: torch.device, precision: torch.dtype | None) -> AbstractContextManager[object]:
    """Compute in `precision` inside; None changes nothing."""
    if precision is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


def make_grad_scaler(
    device: torch.device, precision: torch.dtype | None
) -> torch.amp.GradScaler | None:
    """Only for float16, in which small gradients would become 0."""
    return torch.amp.GradScaler(device.type) if precision == torch.float16 else None


def compiles(setting: str, *, device: torch.device, seconds_left: float | None) -> bool:
    """Whether the training is to be compiled now.

    `always`: from the start. `auto`: on a GPU, once an epoch has shown how long the rest takes
    (`seconds_left`), if compiling saves twice its cost. On a CPU never: other arithmetic
    in mid-training would make continued and uninterrupted trainings differ.
    """
    if setting == "auto":
        return (
            device.type == "cuda"
            and seconds_left is not None
            and seconds_left * _SAVED > _SAFETY * _COMPILING
        )
    return setting == "always"


def compile_network(network: nn.Module, device: torch.device, *, graphs: bool) -> nn.Module:
    """The same weights behind a compiled forward; with `graphs` replayed on a GPU as CUDA graphs.

    No graphs if several passes add up gradients: a replay would overwrite those of the pass
    before. Earlier compilations of this process are forgotten: after eight networks of one class
    torch would run the next ones uncompiled, and say so only in its own log.
    """
    torch._dynamo.reset()
    mode = "reduce-overhead" if device.type == "cuda" and graphs else "default"
    return cast(nn.Module, torch.compile(network, mode=mode))


_LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
_STEPS = 3  # timed, after an untimed one
_IMAGES = 16  # at most, of a step on a CPU
_GAIN = 1.05  # how much faster the other layout must be than the usual one


def choose_layout(
    setting: str,
    network: nn.Module,
    *,
    shape: tuple[int, ...],
    device: torch.device,
    precision: torch.dtype | None = None,
) -> torch.memory_format:
    """`channels_last`, `contiguous`, or for `auto` the faster of the two for such networks.

    `shape` is that of a batch (N, C, R, R), `precision` that of autocast. Measured with a few steps
    of a copy (on a CPU with at most 16 images, as time is proportional to them; on a GPU with all)
    for each combination of device, threads, kinds of layers, shape, precision and cuDNN's flags.
    A machine's first measurement is kept in the cache folder and used from then on, so that equal
    trainings are equal. The usual layout (channels_last on a CPU) changes only for a gain of 5 %.
    """
    if setting != "auto":
        return _LAYOUTS[setting]
    if device.type == "cpu":
        shape = (min(shape[0], _IMAGES), *shape[1:])
    key = _key(network, shape, device, precision)
    path = cache_folder() / "layouts" / f"{key}.json"
    with suppress(OSError, ValueError, KeyError):
        return _LAYOUTS[json.loads(path.read_text())["layout"]]
    seconds = {
        name: _seconds_a_step(network, shape, device, layout, precision)
        for name, layout in _LAYOUTS.items()
    }
    usual = "channels_last" if device.type == "cpu" else "contiguous"
    (other,) = _LAYOUTS.keys() - {usual}
    found = other if seconds[usual] > _GAIN * seconds[other] else usual
    with suppress(OSError):  # if the folder cannot be written, it is measured again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another process was first; its result holds
            _write_first(path, json.dumps({"layout": found, "seconds_a_step": seconds}))
        found = json.loads(path.read_text())["layout"]
    return _LAYOUTS[found]


def _key(
    network: nn.Module,
    shape: tuple[int, ...],
    device: torch.device,
    precision: torch.dtype | None,
) -> str:
    kinds = sorted({type(module).__qualname__ for module in network.modules()})
    name = cpu_name() if device.type == "cpu" else torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    facts = [name, threads, torch.__version__, kinds, shape, str(precision)]
    if device.type == "cuda":
        facts += [torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _write_first(path: os.PathLike[str], text: str) -> None:
    """Write a file whole, and only if there is none. Raises FileExistsError."""
    own = f"{os.fspath(path)}.{os.getpid()}.tmp"
    try:
        with open(own, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(own, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(own)


def _seconds_a_step(
    network: nn.Module,
    shape: tuple[int, ...],
    device: torch.device,
    layout: torch.memory_format,
    precision: torch.dtype | None,
) -> float:
    """The median of a few forward and backward passes of a copy; the random state is kept.

    With half of the images if memory runs out.
    """
    try:
        return _timed(network, shape, device, layout, precision)
    except RuntimeError as error:
        if not card_is_full(error) or shape[0] <= 2:
            raise
    torch.cuda.empty_cache()  # outside of `except`, which still holds the tensors
    return _seconds_a_step(network, (shape[0] // 2, *shape[1:]), device, layout, precision)


def _any_loss(trained: nn.Module, images: Tensor) -> Tensor:
    """Any loss to differentiate; a detector's own losses would need boxes."""
    if isinstance(trained, DetectionNetwork):
        return torch.stack([each.float().sum() for each in trained.raw(images).values()]).sum()
    return weighted_loss(trained(images), Tensor.sum)


def _timed(
    network: nn.Module,
    shape: tuple[int, ...],
    device: torch.device,
    layout: torch.memory_format,
    precision: torch.dtype | None,
) -> float:
    trained = copy.deepcopy(network).to(device).to(memory_format=layout).train()
    images = torch.zeros(shape, device=device).contiguous(memory_format=layout)
    times = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for _ in range(1 + _STEPS):
            began = time.perf_counter()
            with autocast(device, precision):
                loss = _any_loss(trained, images)
            torch.autograd.backward(loss)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
