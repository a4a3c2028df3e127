"""The conditions that a latency is measured under, and the machine.

A run's config holds `Conditions`, so torch is imported only when a device is needed.
"""

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from search_spaces.records import InputError, Record

if TYPE_CHECKING:
    import torch


class Conditions(Record):
    """One step on one device: inference of a batch, or with `training_step` a step of SGD.

    `precision` of an inference is the type of weights and images; a training step keeps its weights
    in fp32 and computes under autocast. `device: auto` is a GPU if there is one. `threads` are
    torch's on a CPU; None leaves them as they are. A measured latency has the actual values.
    """

    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Images in a batch."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of the computation."""
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    """Order of the values in memory."""
    training_step: bool = False
    """Measure a step of training instead of inference."""
    compiled: bool = False
    """Compile the network with torch.compile first."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """`auto` takes a GPU if there is one."""
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    """torch's threads on a CPU. Without it: torch's own number."""

    @model_validator(mode="after")
    def _batch_norm_needs_two(self) -> Self:
        if self.training_step and self.batch_size < 2:
            raise ValueError(
                f"a training step needs a batch_size of 2 or more, for batch norm, "
                f"but got {self.batch_size}"
            )
        return self

    def describe(self) -> str:
        """`inference, batch 1, fp32, contiguous, cpu, 2 threads`."""
        words = [
            "training step" if self.training_step else "inference",
            f"batch {self.batch_size}",
            self.precision,
            self.memory_format,
            "torch.compile" if self.compiled else "eager",
            self.device,
        ]
        if self.threads is not None:
            words.append(f"{self.threads} thread{'' if self.threads == 1 else 's'}")
        return ", ".join(words)


def find_device(name: "str | torch.device", *, setting: str = "device") -> "torch.device":
    """`auto` is a GPU if there is one. Raises InputError for a missing GPU.

    `setting` is the user's name for it, for the message.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise InputError(
                f"{setting} is '{name}', but torch finds {count} GPUs here; use 'auto' or 'cpu'"
            )
    return device


def cpu_name() -> str:
    """The processor's name, if the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def machine_facts(device: "torch.device") -> dict[str, str]:
    """`hardware` of the device, and the versions of the libraries that compute on it."""
    import torch

    facts = {"torch": torch.__version__, "python": platform.python_version()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {
            "hardware": f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB",
            **facts,
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
            "tf32": "convolutions" if torch.backends.cudnn.allow_tf32 else "no",
        }
    return {"hardware": f"{cpu_name()}, {os.cpu_count()} cores", **facts}
