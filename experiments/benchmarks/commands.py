"""Seconds that a command takes: to answer, and to go from `scaler run` on digits to its report.

    python -m experiments.benchmarks.commands startup
    python -m experiments.benchmarks.commands line

`startup` times `scaler --help`, and `scaler cost` beside a bare `import torch`; they take turns, so
that all meet the same machine. `line` runs the whole line in a fresh folder each time, as a user
would, and splits its time into search, coefficients and family: four minutes a run on two cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.benchmarks import keep, summary

COMMANDS = {
    "scaler --help": ["-m", "experiments", "--help"],
    "python -c 'import torch'": ["-c", "import torch"],
    "scaler cost efficientnet_b0": ["-m", "experiments", "cost", "efficientnet_b0"],
}


def seconds(arguments: list[str]) -> float:
    """How long Python takes with these arguments, from its start to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure_startup(args: argparse.Namespace) -> None:
    """Keep how soon each command answers."""
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for arguments in COMMANDS.values():
        seconds(arguments)
    for _ in range(args.rounds or 9):
        for name, arguments in COMMANDS.items():
            samples[name].append(seconds(arguments))
    rows: list[dict[str, object]] = [
        {"command": name, **summary(values)} for name, values in samples.items()
    ]
    _, bare, cost = samples.values()
    more = [after - before for before, after in zip(bare, cost, strict=True)]
    rows.append({"command": "cost, over a bare import torch", **summary(more)})
    keep("startup", rows, folder=args.out, note="Seconds, whole process, commands in turn.")


def one_run(folder: Path) -> dict[str, float]:
    """Seconds of one whole line, by part."""
    total = seconds(["-m", "experiments", "run", "--config", "digits", "--run", str(folder)])
    parts: dict[str, float] = json.loads((folder / "environment.json").read_text())["seconds"]
    rest = total - sum(parts.values())
    return {"whole line": total, **parts, "start, data and report": rest}


def measure_line(args: argparse.Namespace) -> None:
    """Keep how long the whole line takes, by part."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [one_run(Path(folder) / str(i)) for i in range(args.rounds or 3)]
    rows = [{"part": part, **summary([run[part] for run in runs])} for part in runs[0]]
    keep("line", rows, folder=args.out, note="Seconds of `scaler run --config digits`, by part.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=["startup", "line"])
    parser.add_argument("--rounds", type=int, help="9 of startup, 3 of the line by default.")
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    {"startup": measure_startup, "line": measure_line}[args.what](args)


if __name__ == "__main__":
    main()
