"""How soon the command answers: `scaler --help`, and `scaler cost` beside a bare `import torch`.

    python -m experiments.benchmarks.startup

The commands take turns, so that all meet the same machine.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from experiments.benchmarks.record import keep, summary

COMMANDS = {
    "scaler --help": ["-m", "experiments", "--help"],
    "python -c 'import torch'": ["-c", "import torch"],
    "scaler cost efficientnet_b0": ["-m", "experiments", "cost", "efficientnet_b0"],
}


def seconds(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for arguments in COMMANDS.values():
        seconds(arguments)
    for _ in range(args.rounds):
        for name, arguments in COMMANDS.items():
            samples[name].append(seconds(arguments))
    rows: list[dict[str, object]] = [
        {"command": name, **summary(values)} for name, values in samples.items()
    ]
    _, bare, cost = samples.values()
    more = [after - before for before, after in zip(bare, cost, strict=True)]
    rows.append({"command": "cost, over a bare import torch", **summary(more)})
    keep("startup", rows, folder=args.out, note="Seconds, whole process, commands in turn.")


if __name__ == "__main__":
    main()
