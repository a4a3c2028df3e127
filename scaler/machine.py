"""The hardware and versions that a measurement holds for."""

import os
import platform
from pathlib import Path

import torch


def cpu_name() -> str:
    """The processor's own name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def machine_facts(device: torch.device) -> dict[str, str]:
    """`hardware` of the device, and the versions of what computes on it."""
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
