"""Random networks with their learning curves: the table that `curves` searches.

    python -m experiments.benchmarks.parts.curve_table digits 400 --runs FILE
    python -m experiments.benchmarks.parts.curve_table cifar10 150 --runs FILE --keep

The table (results/curves.jsonl.gz) holds random networks of `mbconv_small`, each trained for the
full length with two seeds. FILE holds the trainings line by line; what it lacks is trained and
appended, so that it goes on after a stop. `--keep` makes FILE the table that is kept.
"""

import argparse
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import optuna

from experiments.config.files import write_bytes
from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from scaler.cost import measure_cost
from search_spaces.architecture import Architecture
from search_spaces.space import load_space

FOLDER = Path(__file__).parents[1] / "results"
TABLE = FOLDER / "curves.jsonl.gz"
# The sets: data, the resolution and epochs of a full training, the window of FLOPs, the target.
SETS: dict[str, dict[str, Any]] = {
    "digits": {
        "data": {"source": "digits", "flip": False, "crop_padding": 1},
        "resolution": 16,
        "epochs": 9,
        "window": (2e5, 2e6),
        "train": {"batch_size": 64, "learning_rate": 0.1},
    },
    "cifar10": {
        "data": {"source": "cifar10", "train_limit": 2500, "validation_limit": 1000},
        "resolution": 16,
        "epochs": 9,
        "window": (3e5, 3e6),
        "train": {"batch_size": 64, "learning_rate": 0.1},
    },
}
TARGET = 1e6
EXPONENT = -0.07

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Networks by their parameters, with the curves of their trainings (N, seeds, epochs)."""

    distributions: dict[str, optuna.distributions.CategoricalDistribution]
    params: list[dict[str, Any]]
    places: Array  # (N, P) of the parameters' values among their choices, 0 to 1
    flops: Array  # (N,)
    curves: Array

    @classmethod
    def load(cls, name: str, path: Path = TABLE) -> Self:
        """The table of a set; networks that lack a training are left out."""
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            rows = [row for row in map(json.loads, file) if row["set"] == name]
        by_key: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_key.setdefault(row["key"], []).append(row)
        most = max(len(found) for found in by_key.values())
        whole = [found for found in by_key.values() if len(found) == most]
        params = [found[0]["params"] for found in whole]
        values = {n: sorted({p[n] for p in params if n in p}) for p in params for n in p}
        kinds = {n: optuna.distributions.CategoricalDistribution(v) for n, v in values.items()}
        places = np.array([cls._placed(values, p) for p in params])
        return cls(
            distributions=kinds,
            params=params,
            places=places,
            flops=np.array([found[0]["flops"] for found in whole], dtype=float),
            curves=np.array([[row["curve"] for row in found] for found in whole]),
        )

    @staticmethod
    def _placed(values: dict[str, list[Any]], params: dict[str, Any]) -> list[float]:
        return [v.index(params[n]) / max(len(v) - 1, 1) for n, v in values.items()]

    def away(self, params: dict[str, Any]) -> Array:
        """How far each network is from these parameters (N,)."""
        return np.abs(self.places - np.array(self._placed(self._choices, params))).sum(axis=1)

    @cached_property
    def _choices(self) -> dict[str, list[Any]]:
        return {name: list(kind.choices) for name, kind in self.distributions.items()}

    @cached_property
    def factors(self) -> Array:
        """(FLOPs / T)^w of each network."""
        return (self.flops / TARGET) ** EXPONENT

    @cached_property
    def regrets(self) -> Array:
        """100 times what each network's mean reward falls short of the best."""
        rewards = self.curves[:, :, -1].mean(axis=1) * self.factors
        return 100 * (rewards.max() - rewards)


def members(name: str, count: int, **sizes: int) -> Iterator[tuple[dict[str, Any], Architecture]]:
    """The first `count` distinct random networks within the window, with their parameters."""
    chosen = SETS[name]
    space = load_space("mbconv_small").at(chosen["resolution"])
    low, high = chosen["window"]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen: set[str] = set()
    while len(seen) < count:
        trial = study.ask()
        architecture = space.suggest(trial)
        flops = measure_cost(architecture, **sizes).flops
        if architecture.key not in seen and low <= flops <= high:
            seen.add(architecture.key)
            yield dict(trial.params), architecture


def train(name: str, networks: int, file: Path, *, seeds: int = 2) -> None:
    """Train what `file` lacks; each finished training is appended at once."""
    from experiments.data.sources import load_data
    from experiments.training.training import Training

    chosen = SETS[name]
    config = DataConfig.parse(chosen["data"], source=name)
    data = load_data(config, seed=0)
    sizes = {"num_classes": data.num_classes, "in_channels": data.channels}
    lines = file.read_text().splitlines() if file.exists() else []
    done = {(row["key"], row["seed"]) for row in map(json.loads, lines) if row["set"] == name}
    for params, architecture in members(name, networks, **sizes):
        for seed in range(seeds):
            if (architecture.key, seed) in done:
                continue
            training = Training(
                architecture=architecture,
                data=data,
                data_config=config,
                config=TrainConfig.parse(chosen["train"], source=name),
                epochs=chosen["epochs"],
                seed=seed,
            )
            curve = [round(result.accuracy, 6) for result in training.run()]
            flops = measure_cost(architecture, **sizes).flops
            row = {"set": name, "key": architecture.key, "seed": seed, "params": params}
            with file.open("a") as appended:
                appended.write(json.dumps({**row, "flops": flops, "curve": curve}) + "\n")


def main() -> None:
    """Train what the table lacks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("set", choices=SETS)
    parser.add_argument("networks", type=int)
    parser.add_argument("--runs", type=Path, required=True, help="where the trainings are")
    parser.add_argument("--keep", action="store_true", help="make it the kept table")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    train(args.set, args.networks, args.runs)
    if args.keep:
        write_bytes(TABLE, gzip.compress(args.runs.read_bytes(), mtime=0))


if __name__ == "__main__":
    main()
