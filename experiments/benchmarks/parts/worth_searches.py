"""The searches whose worth is measured: one data set at one budget, and what they are beside."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.config.messages import say
from experiments.config.schema import DataConfig, SearchConfig
from experiments.config.search_section import SearchSection
from experiments.data.sources import load_data
from experiments.engine.pricing import Pricing
from experiments.steps.known import known_at
from experiments.steps.search import search
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.space import load_space

KNOWN = ["mobilenet_v2", "mnasnet_a1", "efficientnet_b0", "cifar_resnet20", "cifar_densenet40_k12"]
RESOLUTION = 32
SEARCHERS = {  # row -> what differs in the config's search section
    "cost_aware, formula": {"sampler": "cost_aware", "at": "formula"},
    "cost_aware, at budget": {"sampler": "cost_aware", "at": "budget"},
    "random, at budget": {"sampler": "random", "at": "budget"},
}
SCALED = "cost_aware, formula, scaled"
RANDOM = "random member"
DATA: dict[str, dict[str, Any]] = {
    "cifar10": {"source": "cifar10"},
    "clothing": {"source": "clothing", "image_size": 40},
}


@dataclass(frozen=True)
class Case:
    """One data set at one budget; `lines` is the file of what was done."""

    data: str
    flops: float
    args: argparse.Namespace

    @property
    def name(self) -> str:
        return f"{self.data} at {self.flops / 1e6:g} MFLOPs"

    @property
    def data_config(self) -> DataConfig:
        limits = {
            f"{part}_limit": getattr(self.args, f"{part}_images")
            for part in ("train", "validation")
        }
        return DataConfig(**DATA[self.data], crop_padding=4, **limits)

    @cached_property
    def images(self) -> Any:
        return load_data(self.data_config, seed=0)

    @property
    def sizes(self) -> dict[str, int]:
        return {"num_classes": self.images.num_classes, "in_channels": self.images.channels}

    def lines(self) -> list[dict[str, Any]]:
        """What was done of this case, in the order of its doing."""
        path: Path = self.args.lines
        read = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        done = [json.loads(line) for line in read]
        return [line for line in done if (line["data"], line["flops"]) == (self.data, self.flops)]

    def write(self, **fields: Any) -> None:
        """One line more; `say` it too, without the architecture."""
        line = {"data": self.data, "flops": self.flops, **fields}
        with self.args.lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        say(", ".join(f"{key} {value}" for key, value in line.items() if key != "architecture"))


def run_searches(case: Case) -> dict[str, Architecture]:
    """What each searcher found, by row; a search that was done is read."""
    done = {line["row"]: line for line in case.lines() if line["kind"] == "search"}
    for row, differs in SEARCHERS.items():
        if row in done:
            continue
        name = f"worth-{case.data}-{case.flops:.0f}-{row.replace(', ', '-').replace(' ', '-')}"
        config = SearchConfig(
            name=name,
            run=case.args.runs / name,
            data=case.data_config,
            search=SearchSection(
                resolution=RESOLUTION,
                target=case.flops,
                trials=case.args.trials,
                epochs=case.args.epochs,
                **differs,
            ),
            confirmation=None,
            cluster={"workers": 1},
        )
        result = search(config)
        complete = result.trials[result.trials["state"] == "complete"]
        case.write(
            kind="search",
            row=row,
            epochs=int(result.trials["epochs"].sum()),
            trials=len(result.trials),
            complete=len(complete),
            accuracy=float(complete.sort_values("reward")["accuracy"].iloc[-1]),
            architecture=result.best.model_dump(mode="json", exclude_defaults=True),
        )
    done = {line["row"]: line for line in case.lines() if line["kind"] == "search"}
    return {row: Architecture.parse(done[row]["architecture"], source=row) for row in done}


def networks(case: Case, found: dict[str, Architecture]) -> Iterator[tuple[str, Architecture]]:
    """Row and network of all that are trained in the end. The random members have their own."""
    yield from found.items()
    formula = found["cost_aware, formula"]
    yield SCALED, at_budget(formula, case)
    for name in KNOWN:
        try:
            yield name, known_at(name, target=case.flops, cost="flops", like=formula, **case.sizes)
        except InputError as error:
            say(f"{name} is left out: {error}")


def at_budget(shape: Architecture, case: Case) -> Architecture:
    """The shape scaled to the case's FLOPs as `at: budget` does it."""
    section = SearchSection(target=case.flops, at="budget")
    return Pricing(section, **case.sizes).brought(shape)


def random_members(case: Case) -> Iterator[tuple[str, Architecture]]:
    """Members of the space drawn at random, scaled to the budget."""
    space = load_space("mbconv_small").at(RESOLUTION)
    for number, member in enumerate(space.members(case.args.members, seed=1)):
        yield f"{RANDOM} {number}", at_budget(member, case)
