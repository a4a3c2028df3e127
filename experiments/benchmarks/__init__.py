"""Committed measurements: `python -m experiments.benchmarks.<name>` prints and keeps each.

May import everything. Read `keep` first: it prints and keeps figures in `results/`, with n, median
and range, and the machine.
"""

import datetime
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.config.files import write_json, write_text
from scaler.conditions import cpu_name

_PACKAGES = ("torch", "ray", "optuna", "fvcore")


def summary(samples: Sequence[float]) -> dict[str, float]:
    """n, median, least and most of some seconds."""
    return {
        "n": len(samples),
        "median": round(statistics.median(samples), 4),
        "min": round(min(samples), 4),
        "max": round(max(samples), 4),
    }


def machine() -> dict[str, Any]:
    """The processor, the card that torch can use, and the versions of what is measured."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        **card(),
    }


def card() -> dict[str, str]:
    """The first GPU's name and driver, CUDA and cuDNN; empty where torch has none."""
    import torch

    if not torch.cuda.is_available():
        return {}
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=30).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        told = []
    return {
        "card": torch.cuda.get_device_name(0),
        "driver": told[0] if told else "unknown",
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
    }


def keep(name: str, rows: list[dict[str, Any]], *, folder: Path, note: str) -> None:
    """Print the rows as a table; write them as JSON and Markdown under `folder`."""
    from tabulate import tabulate

    facts = {"date": datetime.date.today().isoformat(), **machine()}
    line = ", ".join(f"{key} {value}" for key, value in facts.items())
    table = tabulate(rows, headers="keys", tablefmt="github")
    text = f"# {name}\n\n{note}\n\n{line}\n\n{table}\n"
    write_json(folder / f"{name}.json", {"note": note, "machine": facts, "rows": rows})
    write_text(folder / f"{name}.md", text)
    print(text)
