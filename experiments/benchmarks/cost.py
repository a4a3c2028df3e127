"""How fast a cost is measured and a budget solved for, against fvcore alone.

    python -m experiments.benchmarks.cost

Expected on two cores: about five minutes, nearly all of it the rivals'.
"""

import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import torch
from fvcore.nn import FlopCountAnalysis

from experiments.benchmarks import keep, summary
from scaler import CompoundCoefficients, law, measure_cost, scale, scale_to_flops
from scaler import cost as cost_module
from search_spaces import Architecture, build_network, load_architecture, load_space

RESULTS = Path(__file__).parent / "results"
TARGETS = (0.70e9, 1.0e9, 1.8e9, 4.2e9, 9.9e9)  # the paper's FLOPs of B1 to B5
MEMBERS, TRACED, ROUNDS = 1000, 30, 5


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    members = random_members("mbconv", MEMBERS)
    measure_fully(members[0])  # fvcore's and torch's own first-time work is nobody's
    rows = [
        *members_rows(members),
        *solver_rows(load_architecture("efficientnet_b0")),
        *large_rows(),
        memory_row("mbconv"),
        memory_row("mixed"),
    ]
    keep(
        "cost",
        rows,
        folder=RESULTS,
        note=(
            "Seconds, and ratios to the rival named, measured in turn in one process. `empty "
            "memory` is after clearing all that was remembered. The rivals build the whole "
            "network and trace it with fvcore; the one that solves bisects phi until it is within "
            "1 % of the target or its bracket is narrower than 0.02."
        ),
    )


def random_members(space: str, count: int) -> list[Architecture]:
    choices, draw = load_space(space), random.Random(0)
    parameters = choices.parameters()
    members: list[Architecture] = []
    while len(members) < count:
        params = {name: draw.choice(options) for name, options in parameters.items()}
        try:
            members.append(choices.suggest(optuna.trial.FixedTrial(params)))
        except ValueError:  # parts that do not fit together
            continue
    return members


def measure_fully(member: Architecture) -> int:
    """The rival: FLOPs by fvcore's trace of the whole network."""
    size = member.resolution
    analysis = FlopCountAnalysis(build_network(member).eval(), torch.zeros(1, 3, size, size))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    counts = analysis.by_operator()
    return int(counts["conv"] + counts["linear"] + counts["matmul"])


def forget() -> None:
    """Clear whatever a cost remembers."""
    for module in (cost_module, law):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def members_rows(members: list[Architecture]) -> list[dict[str, Any]]:
    """Seconds a member: ours over all of them from an empty memory, fvcore's over the first."""
    ours, theirs, ratios = [], [], []
    for _ in range(ROUNDS):
        forget()
        ours.append(seconds(lambda: [measure_cost(m) for m in members]) / len(members))
        few = members[: TRACED // ROUNDS * ROUNDS : ROUNDS]
        theirs.append(seconds(lambda few=few: [measure_fully(m) for m in few]) / len(few))
        ratios.append(theirs[-1] / ours[-1])
    for member in members[:TRACED]:
        assert measure_cost(member).flops == measure_fully(member)
    name = f"a member of mbconv at 224 px, of {len(members)} from an empty memory"
    return [
        {"what": name, **summary(ours)},
        {"what": "the same, each built and traced whole by fvcore", **summary(theirs)},
        {"what": "ratio", **summary(ratios)},
    ]


def bisect(baseline: Architecture, target: float) -> Architecture:
    """The rival: phi by bisection, a whole trace a step."""
    rule = CompoundCoefficients()

    def member(phi: float) -> tuple[Architecture, int]:
        grown = scale(baseline, phi=phi, coefficients=rule)
        return grown, measure_fully(grown)

    low, high = 0.0, 1.0
    grown, flops = member(high)
    while flops < target and abs(flops / target - 1) > 0.01:
        low, high = high, 2 * high
        grown, flops = member(high)
    while abs(flops / target - 1) > 0.01 and high - low > 0.02:
        middle = (low + high) / 2
        grown, flops = member(middle)
        low, high = (middle, high) if flops < target else (low, middle)
    return grown


def solver_rows(baseline: Architecture) -> list[dict[str, Any]]:
    """Seconds for a budget, one sample a target."""
    rule = CompoundCoefficients()
    empty, warm, theirs = [], [], []

    def solve(target: float) -> None:
        scale_to_flops(baseline, target_flops=target, coefficients=rule)

    for target in TARGETS:
        forget()
        empty.append(seconds(lambda target=target: solve(target)))
        warm.append(seconds(lambda target=target: solve(target)))
        theirs.append(seconds(lambda target=target: bisect(baseline, target)))
    pairs = [("from an empty memory", empty), ("again", warm)]
    named = ", ".join(f"{target / 1e9:g}" for target in TARGETS)
    rows = [{"what": f"B0 to {named} GFLOPs: bisecting phi with fvcore", **summary(theirs)}]
    for what, ours in pairs:
        ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
        rows.append({"what": f"scale_to_flops, {what}", **summary(ours)})
        rows.append({"what": f"ratio, {what}", **summary(ratios)})
    return rows


def large_rows() -> list[dict[str, Any]]:
    """Whole processes: EfficientNet-L2 at 800 px, of which a whole trace does not fit 24 GiB."""
    took, peak = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        peak.append(_peak(["cost", "efficientnet_l2"]))
        took.append(time.perf_counter() - began)
    what = "scaler cost efficientnet_l2 (800 px)"
    return [
        {"what": f"{what}, seconds of the process", **summary(took)},
        {"what": f"{what}, GiB at most", **summary(peak)},
    ]


def _peak(arguments: list[str]) -> float:
    """Run the command in a process of its own: the most memory it had, in GiB."""
    program = (
        "from experiments.cli import cli\n"
        "cli(standalone_mode=False)\n"
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')))\n"
    )
    command = [sys.executable, "-c", program, *arguments]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(ended.stdout.splitlines()[-1]) / 1024**2


def memory_row(space: str, count: int = 10_000) -> dict[str, Any]:
    """What the process grows by while 10,000 members are measured, after the first 2,000."""
    members = iter(random_members(space, count))
    for _ in range(count // 5):
        measure_cost(next(members))
    before = _resident()
    for member in members:
        measure_cost(member)
    grown = (_resident() - before) / 1024**2
    what = f"memory that members 2,001 to 10,000 of {space} add, MiB"
    return {"what": what, **summary([grown])}


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
