"""What a GPU is worth here: rates, trials that share it, CIFAR-10 to 94 %, share of its peak.

    SCALER_DATA=... python -m experiments.benchmarks.gpu

One call of under ten minutes, without network and without Ray. Each part (see `gpu_parts`) has a
process and a limit of time of its own, and its table is kept after every row: what fails or is
killed loses no other part. `--part NAME` runs one alone. Only CIFAR-10 is read from disk; the other
parts train on random images. `--smoke` runs every part tiny on a CPU, to see that it runs: such
figures are printed and not kept.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from experiments.benchmarks import keep
from experiments.benchmarks.parts import gpu_parts


class Part(NamedTuple):
    """One table: what measures it, the note under its name, and the seconds it may take."""

    measure: Callable[..., Iterator[gpu_parts.Row]]
    note: str
    limit: float


# Cheapest first; together below ten minutes with the start of each.
PARTS = {
    "gpu_peak": Part(gpu_parts.share_of_peak, "ResNet-50 at 224 px, share of bf16 peak.", 70),
    "gpu_rates": Part(gpu_parts.rates, "Images a second, and a plain DataLoader loop's.", 160),
    "gpu_sharing": Part(gpu_parts.sharing, "Small trials that share one card.", 130),
    "gpu_cifar": Part(
        gpu_parts.cifar_94,
        f"CIFAR-10 to 94 % on the test part. airbench: {gpu_parts.AIRBENCH} s on an A100.",
        130,
    ),
    "gpu_compiled": Part(
        gpu_parts.compiled, "The second epoch, compiled with CUDA graphs or not.", 100
    ),
}


def run_part(name: str, args: argparse.Namespace) -> None:
    """Measure one part in this process, and keep what there is after each row."""
    how: dict[str, Any] = {"device": "cpu" if args.smoke else "cuda", "smoke": args.smoke}
    if name == "gpu_cifar":
        how["source"] = args.data or ("digits" if args.smoke else "cifar10")
    part, rows = PARTS[name], []
    for row in part.measure(**how):
        rows.append(row)
        if not args.smoke:
            keep(name, rows, folder=args.out, note=part.note)
    if args.smoke:
        print(name, rows)


def _apart(name: str, given: Sequence[str]) -> str:
    """Run a part in a process of its own, which ends at its limit with all that it started.

    So a part that fails, hangs or fills the card takes no other one with it. What became of it.
    """
    command = [sys.executable, "-m", "experiments.benchmarks.gpu", *given, "--part", name]
    began = time.perf_counter()
    process = subprocess.Popen(command, start_new_session=True)
    try:
        status = process.wait(timeout=PARTS[name].limit)
        told = "done" if status == 0 else f"FAILED (status {status})"
    except subprocess.TimeoutExpired:
        told = "STOPPED at its limit"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return f"{name}: {told} after {time.perf_counter() - began:.0f} s"


def main() -> int:
    """Run every part, cheapest first, each in a process of its own; 1 where one did not end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", help="CIFAR-10's folder, if it is not found by its name.")
    parser.add_argument("--smoke", action="store_true", help="Tiny, on a CPU: to see that it runs.")
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    parser.add_argument("--part", choices=PARTS, help="This one alone, without a limit of time.")
    args = parser.parse_args()
    if not args.smoke and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --smoke runs every part tiny on a CPU")
    if args.part:
        run_part(args.part, args)
        return 0
    began = time.perf_counter()
    ends = []
    for name in PARTS:
        ends.append(_apart(name, sys.argv[1:]))
        print(ends[-1], file=sys.stderr, flush=True)
    print(f"{time.perf_counter() - began:.0f} s in all", file=sys.stderr)
    return int(not all(": done" in end for end in ends))


if __name__ == "__main__":
    sys.exit(main())
