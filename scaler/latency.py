"""How long a network takes on this device, measured so that other work disturbs it least.

Several networks are measured in rounds, each network in a short burst in every round, so that the
machine's other work affects all of them alike. Rounds go on until every network's median is known
within the tolerance, or the time is up; `uncertainty` says which of the two.
"""

import gc
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from statistics import median, quantiles
from typing import NamedTuple

import torch

from scaler.conditions import Conditions, find_device, machine_facts
from scaler.step import Step, compiling, make_step
from search_spaces.architecture import Architecture
from search_spaces.records import InputError

_BURST = 0.05  # seconds of one network in a round, if its step is not longer
_MOST_RUNS = 50  # in a burst
_LEAST_ROUNDS = 7  # order statistics need at least six for a 95 % interval


class Run(NamedTuple):
    """Seconds of one step: wall-clock time, and its own processor time if that is known."""

    wall: float
    own: float  # processor time on one CPU thread; elsewhere wall-clock time


@dataclass(frozen=True)
class Latency:
    """Seconds of one step with a whole batch, and the conditions they were measured under.

    `seconds` is the median of all timed runs, `low` and `high` their 10th and 90th percentile.
    `quiet` is the figure that other work changes least: on one CPU thread the median of the
    processor time of a step, elsewhere the least of the rounds' medians. `uncertainty` is
    half the 95 % interval of the rounds' median (of processor time on one thread), as a part of it.
    `load` is the machine's mean number of running processes at the beginning, if the system
    gives it.
    """

    architecture: str
    resolution: int
    num_classes: int
    in_channels: int
    seconds: float
    low: float
    high: float
    quiet: float
    uncertainty: float
    runs: int
    rounds: int
    load: float | None
    conditions: Conditions
    machine: dict[str, str]

    @property
    def images_per_second(self) -> float:
        """The batch size divided by a batch's time."""
        return self.conditions.batch_size / self.seconds


def measure_latency(
    architecture: Architecture,
    *,
    batch_size: int = 1,
    precision: str = "fp32",
    memory_format: str = "contiguous",
    training_step: bool = False,
    compiled: bool = False,
    device: str = "auto",
    threads: int | None = None,
    num_classes: int = 1000,
    in_channels: int = 3,
    budget: float = 5.0,
    tolerance: float = 0.02,
) -> Latency:
    """The latency of one network; see `Conditions` for the arguments, and `measure_latencies`."""
    asked = {
        "batch_size": batch_size,
        "precision": precision,
        "memory_format": memory_format,
        "training_step": training_step,
        "compiled": compiled,
        "device": device,
        "threads": threads,
    }
    (measured,) = measure_latencies(
        [architecture],
        conditions=Conditions.parse(asked, source="latency"),
        num_classes=num_classes,
        in_channels=in_channels,
        budget=budget,
        tolerance=tolerance,
    )
    return measured


def measure_latencies(
    architectures: Sequence[Architecture],
    *,
    conditions: Conditions,
    num_classes: int = 1000,
    in_channels: int = 3,
    budget: float = 5.0,
    tolerance: float = 0.02,
) -> list[Latency]:
    """The latencies of several networks, in turn round by round; all are held in memory.

    `budget` is in seconds for each network, without warm-up; `tolerance` is the uncertainty at
    which rounds end. Torch's generators and settings are restored. Raises InputError if the device
    is missing, or cannot run a network under the conditions.
    """
    if not (math.isfinite(budget) and budget > 0):
        raise InputError(f"budget must be a positive number of seconds, but got {budget:g}")
    device = find_device(conditions.device)
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
    threads = None
    if device.type == "cpu":
        threads = conditions.threads or torch.get_num_threads()
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    resolved = conditions.replace(device=str(device), threads=threads)
    compiled = compiling(len(architectures)) if conditions.compiled else nullcontext()
    with _undisturbed(device, threads), compiled:
        steps, counts = [], []
        for network in architectures:
            step, runs = _warmed_up(network, resolved, device, num_classes, in_channels)
            steps.append(step)
            counts.append(runs)
        bursts = _rounds(steps, counts, resolved, budget=budget, tolerance=tolerance)
    return [
        _latency(network, list(own), load, resolved, device, num_classes, in_channels)
        for network, own in zip(architectures, zip(*bursts, strict=True), strict=True)
    ]


@contextmanager
def _undisturbed(device: torch.device, threads: int | None) -> Iterator[None]:
    """Inside: no garbage collection, and the given threads; both are restored."""
    cudnn = torch.backends.cudnn
    found = torch.get_num_threads(), cudnn.benchmark, gc.isenabled()
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            torch.set_num_threads(threads or found[0])
            cudnn.benchmark = True  # the fastest algorithm for the shape, as in a long run
            gc.collect()
            gc.disable()
            if device.type == "cuda":
                with torch.cuda.device(device):
                    yield
            else:
                yield
    finally:
        torch.set_num_threads(found[0])
        cudnn.benchmark = found[1]
        if found[2]:
            gc.enable()


def _warmed_up(
    network: Architecture,
    conditions: Conditions,
    device: torch.device,
    num_classes: int,
    in_channels: int,
) -> tuple[Step, int]:
    """The network's step, run until it is warm, and how many runs make a burst."""
    try:
        step = make_step(network, conditions, device, num_classes, in_channels)
        _time(step, conditions, 1)  # compiles, chooses algorithms, allocates
        seconds = min(run.wall for run in _time(step, conditions, 2))
    except (RuntimeError, MemoryError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"'{network.name}' at {network.resolution} px cannot run as "
            f"{conditions.describe()}: {first}; take a smaller batch size or another precision"
        ) from None
    return step, max(1, min(_MOST_RUNS, math.ceil(_BURST / max(seconds, 1e-9))))


def _rounds(
    steps: Sequence[Step],
    counts: Sequence[int],
    conditions: Conditions,
    *,
    budget: float,
    tolerance: float,
) -> list[list[list[Run]]]:
    """Every round's runs by network, until all are known or the time is up."""
    deadline = time.monotonic() + budget * len(steps)
    rounds: list[list[list[Run]]] = []
    while True:
        rounds.append([_burst(step, conditions, n) for step, n in zip(steps, counts, strict=True)])
        if time.monotonic() >= deadline and len(rounds) > 1:
            return rounds
        own = [_medians(bursts) for bursts in zip(*rounds, strict=True)]
        if len(rounds) >= _LEAST_ROUNDS and max(map(_uncertainty, own)) <= tolerance:
            return rounds


def _medians(bursts: Sequence[list[Run]]) -> list[float]:
    return [median(run.own for run in burst) for burst in bursts]


def _burst(step: Step, conditions: Conditions, runs: int) -> list[Run]:
    """Some runs, after one that only fills the caches if a run is cheap."""
    return _time(step, conditions, runs + 1)[1:] if runs > 1 else _time(step, conditions, 1)


def _time(step: Step, conditions: Conditions, runs: int) -> list[Run]:
    """Seconds of each run: CUDA events around it on a GPU, the performance counter on a CPU."""
    device = torch.device(conditions.device)
    if device.type == "cuda":
        marks = [(_mark(), _mark()) for _ in range(runs)]
        torch.cuda.synchronize(device)
        for start, end in marks:
            start.record()
            step()
            end.record()
        torch.cuda.synchronize(device)
        seconds = [start.elapsed_time(end) / 1e3 for start, end in marks]  # from milliseconds
        return [Run(each, each) for each in seconds]
    timed = []
    for _ in range(runs):
        began, own = time.perf_counter(), time.thread_time()
        step()
        wall, own = time.perf_counter() - began, time.thread_time() - own
        timed.append(Run(wall, own if conditions.threads == 1 else wall))
    return timed


def _mark() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _uncertainty(medians: Sequence[float]) -> float:
    """Half the 95 % interval of the median by order statistics, over the median.

    It assumes no distribution; below six values it is half their whole range.
    """
    ordered = sorted(medians)
    n = len(ordered)
    last_left_out = max(0, math.floor(n / 2 - 0.98 * math.sqrt(n)))  # 1.96 sqrt(n) / 2
    return (ordered[n - 1 - last_left_out] - ordered[last_left_out]) / 2 / median(ordered)


def _latency(
    architecture: Architecture,
    bursts: list[list[Run]],
    load: float | None,
    conditions: Conditions,
    device: torch.device,
    num_classes: int,
    in_channels: int,
) -> Latency:
    runs = [run.wall for burst in bursts for run in burst]
    deciles = quantiles(runs, n=10, method="inclusive")
    medians = _medians(bursts)
    return Latency(
        architecture=architecture.name,
        resolution=architecture.resolution,
        num_classes=num_classes,
        in_channels=in_channels,
        seconds=median(runs),
        low=deciles[0],
        high=deciles[-1],
        quiet=median(medians) if conditions.threads == 1 else min(medians),
        uncertainty=_uncertainty(medians),
        runs=len(runs),
        rounds=len(bursts),
        load=load,
        conditions=conditions,
        machine=machine_facts(device),
    )
