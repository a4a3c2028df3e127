"""Committed measurements: `python -m experiments.benchmarks.<name>` prints and keeps each.

May import everything. Read `keep` first: it prints and keeps figures in `results/`, with n, median
and range, and the machine.
"""

import os
import platform
import statistics
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
    """The processor, and the versions of what is measured."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }


def keep(name: str, rows: list[dict[str, Any]], *, folder: Path, note: str) -> None:
    """Print the rows as a table; write them as JSON and Markdown under `folder`."""
    from tabulate import tabulate

    facts = machine()
    line = ", ".join(f"{key} {value}" for key, value in facts.items())
    table = tabulate(rows, headers="keys", tablefmt="github")
    text = f"# {name}\n\n{note}\n\n{line}\n\n{table}\n"
    write_json(folder / f"{name}.json", {"note": note, "machine": facts, "rows": rows})
    write_text(folder / f"{name}.md", text)
    print(text)
