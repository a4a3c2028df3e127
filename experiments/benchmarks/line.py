"""Seconds from `scaler run` on digits to its report, split into search, coefficients, family.

    python -m experiments.benchmarks.line

Runs the command in a fresh folder each time, as a user would. About four minutes a run on two
cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.benchmarks.record import keep, summary


def one_run(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "experiments", "run", "--config", "digits", "--run"]
    began = time.perf_counter()
    subprocess.run([*command, str(folder)], check=True, stdout=subprocess.DEVNULL)
    total = time.perf_counter() - began
    seconds: dict[str, float] = json.loads((folder / "environment.json").read_text())["seconds"]
    rest = total - sum(seconds.values())
    return {"whole line": total, **seconds, "start, data and report": rest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [one_run(Path(folder) / str(i)) for i in range(args.rounds)]
    rows = [{"part": part, **summary([run[part] for run in runs])} for part in runs[0]]
    keep("line", rows, folder=args.out, note="Seconds of `scaler run --config digits`, by part.")


if __name__ == "__main__":
    main()
