"""The tasks of MLPerf Tiny's benchmark, and the networks that a search finds for them."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.config.messages import say
from experiments.config.run_folder import RunFolder
from experiments.config.schema import DataConfig, SearchConfig
from experiments.config.search_section import SearchSection
from experiments.report.tables import load_front
from experiments.steps.search import search
from experiments.store.trials import load_trials
from scaler.budget import CostName
from scaler.compound import CompoundCoefficients
from scaler.cost import device_cost
from scaler.within import scale_within
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.reference import load_architecture

LIMITED: tuple[CostName, ...] = ("flops", "peak_ram", "flash")
ENOUGH = 0.95  # of the multiply-adds: nearer to the limit a network is not grown
SIZES = {"num_classes": 10, "in_channels": 3}


@dataclass(frozen=True)
class Task:
    """Images, the network to beat on them, and where a better one is looked for."""

    rival: str
    space: str
    data: dict[str, Any]  # of DataConfig
    least: float  # multiply-adds; the search trains no network of fewer
    found: dict[str, float]  # row -> share of the rival's multiply-adds
    device: dict[CostName, float]  # bytes; a cost that is not there is limited to the rival's

    def limits(self, share: float) -> dict[CostName, float]:
        """The device's, and what else the rival has, of its multiply-adds the share."""
        cost = device_cost(load_architecture(self.rival), **SIZES)
        own = {name: getattr(cost, name) * (share if name == "flops" else 1) for name in LIMITED}
        return {**own, **self.device}


TASKS = {
    "tiny": Task(
        rival="resnet8",
        space="tiny",
        data={"source": "cifar10", "crop_padding": 4},
        least=4e6,
        found={"found": 1.0, "found at half": 0.5},
        device={},
    ),
    "clothing": Task(
        rival="mobilenet_v1_025_96",
        space="tiny_96",
        data={"source": "clothing", "image_size": 96, "crop_padding": 12},
        least=2e6,
        found={"found": 1.0},
        device={"peak_ram": 64 * 1024, "flash": 250 * 1024},
    ),
}


def read(path: Path) -> list[dict[str, Any]]:
    """What was done, in its order."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines()]


def write(path: Path, **line: Any) -> None:
    """One line more."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def images(task: Task, limit: int, validation: int) -> DataConfig:
    """The task's, at most so many to learn from and to choose by, and all to test with."""
    return DataConfig(**task.data, train_limit=limit, validation_limit=validation)


def searched(args: argparse.Namespace) -> RunFolder:
    """The run of the search; one that is complete is read."""
    task: Task = args.task
    most = task.limits(1.0)
    config = SearchConfig(
        name="tiny",
        run=args.run,
        data=images(task, args.search_images, args.validation_images),
        search=SearchSection(
            space=task.space,
            resolution=load_architecture(task.rival).resolution,
            targets=tuple(sorted(share * most["flops"] for share in task.found.values())),
            min_flops=task.least,
            max_flops=most["flops"],
            max_peak_ram=most["peak_ram"],
            max_flash=most["flash"],
            trials=args.trials,
            epochs=args.search_epochs,
        ),
        confirmation=None,
        cluster={"workers": 1},
    )
    return search(config).run


def grown(found: Architecture, within: dict[CostName, float]) -> Architecture:
    """The network grown until a limit binds; itself where little is left, or nothing fits."""
    has = device_cost(found, **SIZES).flops
    if has > ENOUGH * within["flops"]:
        return found
    try:
        scaled = scale_within(
            found,
            limits=within,
            coefficients=CompoundCoefficients(),
            resolution=found.resolution,
            **SIZES,
        )
    except InputError as error:
        say(f"{found.name} stays as it is: {error}")
        return found
    return scaled.architecture if scaled.cost.flops > has else found


def find(args: argparse.Namespace) -> None:
    """One line of what was found for each share, unless it is there."""
    if any("found" in line for line in read(args.lines)):
        return
    run = searched(args)
    trials = load_trials(run.path)
    front = load_front(run.path).dropna(subset=["target"])
    task: Task = args.task
    files = dict(zip(front["target"], front["baseline"], strict=True))
    found = {}
    for row, share in task.found.items():
        # A run with one target has no front: its network is baseline.yaml.
        file = run.path / str(files.get(share * task.limits(1.0)["flops"], "baseline.yaml"))
        network = grown(load_architecture(file), task.limits(share))
        found[row] = network.model_dump(mode="json", exclude_defaults=True)
    write(args.lines, found=found, trials=len(trials), epochs=int(trials["epochs"].sum()))


def networks(args: argparse.Namespace) -> dict[str, Architecture]:
    """The rival and what was found, by row; or those that are named, at the rival's resolution."""
    rival = load_architecture(args.task.rival)
    if args.only:
        return {
            name: load_architecture(name).replace(resolution=rival.resolution) for name in args.only
        }
    (found,) = (line["found"] for line in read(args.lines) if "found" in line)
    told = {row: Architecture.parse(found[row], source=row) for row in args.task.found}
    return {args.task.rival: rival, **told}
