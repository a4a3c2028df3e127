"""Seconds from the start of a trial to its first optimizer step, on one worker.

    SCALER_DATA=... python -m experiments.benchmarks.trial_start

The first trial of a worker imports, measures the layout and builds; the later ones are what a
search waits for. All of CIFAR-10 is on the device, as in a search.
"""

import argparse
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from experiments.benchmarks.record import keep, summary
from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData
from experiments.data.sources import load_data
from experiments.engine.evaluation import Evaluation, Job
from experiments.training import loop
from experiments.training.gradients import Gradients
from experiments.training.trial import TrainingEvaluation
from search_spaces import load_space
from search_spaces.architecture import Architecture


class _FirstStep(Exception):  # noqa: N818
    """Ends a trial once it has got so far."""


def seconds_to_the_first_step(data: ImageData, architecture: Architecture) -> tuple[float, float]:
    """(until the first batch goes in, until its gradients are there), as a worker runs it."""
    evaluate = TrainingEvaluation(
        data, DataConfig(crop_padding=4), TrainConfig(batch_size=128), epochs=1
    )
    of = Gradients.of
    began = time.perf_counter()
    reached: list[float] = []

    def begins(self: Gradients, *batch: Any, **rest: Any) -> tuple[Tensor, Tensor]:
        reached.append(time.perf_counter() - began)
        return of(self, *batch, **rest)

    def stop(*_: object) -> None:
        reached.append(time.perf_counter() - began)
        raise _FirstStep

    with mock.patch.object(Gradients, "of", begins), mock.patch.object(loop, "set_rate", stop):
        Evaluation(evaluate, Job("trial", architecture.model_dump_json(), seed=0)).next()
    return reached[0], reached[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--trials", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    torch.set_num_threads(2)
    data = load_data(DataConfig(source=args.data), seed=0)
    networks = load_space("mbconv_small").at(32).members(args.trials, seed=0)
    first, *later = (seconds_to_the_first_step(data, network) for network in networks)
    rows = []
    for i, what in enumerate(("first step begins", "first step's gradients are there")):
        rows.append({"until": what, "trial": "first of a worker", **summary([first[i]])})
        rows.append({"until": what, "trial": "later ones", **summary([each[i] for each in later])})
    keep(
        "trial_start",
        rows,
        folder=args.out,
        note=f"Seconds from a trial's start; other networks of mbconv_small at 32 px each, "
        f"batches of 128, {len(data.train):,} training images of {data.name}.",
    )


if __name__ == "__main__":
    main()
