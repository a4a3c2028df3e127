"""Training images a second: the search's engine against a plain PyTorch loop.

    SCALER_DATA=... python -m experiments.benchmarks.input_pipeline
    SCALER_DATA=... python -m experiments.benchmarks.input_pipeline first_step

CIFAR-10 as a folder of class folders, 32 px. The plain loop is the usual one: torchvision's
transforms of the image files (crop with padding 4, flip, normalise) in a DataLoader with two
workers that stay, the same network, batch, loss, optimizer and threads; beside it the same with
channels_last, which shows how much of the ratio is the layout's. Ours is `train_epochs`, its images
decoded before, as in every trial of a search, and its own choice of layout. They take turns, an
epoch each; the first epoch of each is not counted. An epoch of ours has a validation of 100 images
beside, a plain one has none. About four minutes on two quiet cores.

`first_step` times a trial from its start to its first optimizer step, on one worker. The first
trial of a worker imports, measures the layout and builds; the later ones are what a search waits
for. All of CIFAR-10 is on the device, as in a search.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from experiments.benchmarks import keep, summary
from experiments.config.recipe import Augmentation, TrainConfig
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData
from experiments.data.sources import load_data
from experiments.engine.evaluation import Evaluation, Job
from experiments.training import loop
from experiments.training.gradients import Gradients
from experiments.training.loop import train_epochs
from experiments.training.trial import TrainingEvaluation
from search_spaces import build_network, load_architecture, load_space
from search_spaces.architecture import Architecture

NETWORKS = ("mobilenet_v2", "efficientnet_b0")
SIDE = 32
BATCH = 128
RATE = 0.05
NOTE = (
    "Training images a second on CIFAR-10 (JPEG files), 32 px, batch 128, {threads} threads: the "
    "engine of a search against a plain loop (DataLoader with {workers} workers over the files, "
    "torchvision transforms; same network, loss and optimizer). Epochs of {images} images, in "
    "turns; `ratio` is ours over the plain loop's of the same round."
)


class _PlainFiles(Dataset[tuple[Tensor, int]]):
    """What torchvision's ImageFolder does, for the images of the training part."""

    def __init__(self, data: ImageData) -> None:
        from torchvision import transforms

        assert data.train.paths is not None
        self._files = list(zip(data.train.paths, data.train.labels.tolist(), strict=True))
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(SIDE, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(data.statistics.mean, data.statistics.std),
            ]
        )

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        path, label = self._files[number]
        with Image.open(path) as image:
            return self._transform(image.convert("RGB")), label


def network_of(name: str, data: ImageData) -> nn.Module:
    torch.manual_seed(0)
    architecture = load_architecture(name).replace(resolution=SIDE)
    return build_network(architecture, num_classes=data.num_classes, in_channels=3)


def plain_epochs(
    name: str, data: ImageData, *, workers: int, layout: torch.memory_format
) -> Iterator[int]:
    """Train an epoch at a time; the number of images of each."""
    network = network_of(name, data).to(memory_format=layout).train()
    loader = DataLoader(
        _PlainFiles(data),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    while True:
        for images, labels in loader:
            optimizer.zero_grad()
            scores = network(images.contiguous(memory_format=layout))
            criterion(scores, labels).backward()
            optimizer.step()
        yield len(loader) * BATCH


def our_epochs(name: str, data: ImageData, *, epochs: int) -> Iterator[int]:
    for _ in train_epochs(
        network_of(name, data),
        data,
        config=TrainConfig(batch_size=BATCH, learning_rate=RATE, device="cpu"),
        epochs=epochs,
        resolution=SIDE,
        augmentation=Augmentation(flip=True, crop_padding=4),
        seed=0,
        device="cpu",
    ):
        yield len(data.train) // BATCH * BATCH


def speeds(name: str, data: ImageData, *, rounds: int, workers: int) -> dict[str, list[float]]:
    """Images a second of each loop, round by round."""
    loops = {
        "ours": our_epochs(name, data, epochs=rounds + 1),
        "plain loop": plain_epochs(name, data, workers=workers, layout=torch.contiguous_format),
        "plain loop, channels_last": plain_epochs(
            name, data, workers=workers, layout=torch.channels_last
        ),
    }
    found: dict[str, list[float]] = {what: [] for what in loops}
    for _ in range(rounds + 1):
        for what, epochs in loops.items():
            began = time.perf_counter()
            images = next(epochs)
            found[what].append(images / (time.perf_counter() - began))
    return {what: each[1:] for what, each in found.items()}  # the first pays for what lasts


def measure_speed(args: argparse.Namespace) -> None:
    """Keep the images a second of ours and of the plain loops."""
    data = load_data(
        DataConfig(
            source="cifar10", placement="device", train_limit=args.images, validation_limit=100
        ),
        seed=0,
    )
    rows = []
    for name in args.networks:
        found = speeds(name, data, rounds=args.rounds, workers=args.workers)
        for what, each in found.items():
            ratios = [ours / other for ours, other in zip(found["ours"], each, strict=True)]
            rows.append(
                {
                    "network": name,
                    "images/s": what,
                    **summary(each),
                    "ratio": round(median(ratios), 2),
                    "least ratio": round(min(ratios), 2),
                    "most": round(max(ratios), 2),
                }
            )
            print(f"{name}: {median(ratios):.2f} times the speed of: {what}", flush=True)
    keep("input_pipeline", rows, folder=args.out, note=NOTE.format(**vars(args)))


class _FirstStep(Exception):  # noqa: N818
    """Ends a trial once it has got so far."""


def seconds_to_the_first_step(data: ImageData, architecture: Architecture) -> tuple[float, float]:
    """(until the first batch goes in, until its gradients are there), as a worker runs it."""
    evaluate = TrainingEvaluation(
        data, DataConfig(crop_padding=4), TrainConfig(batch_size=BATCH), epochs=1
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


def measure_first_step(args: argparse.Namespace) -> None:
    """Keep the seconds from a trial's start to its first optimizer step."""
    data = load_data(DataConfig(source="cifar10"), seed=0)
    networks = load_space("mbconv_small").at(SIDE).members(args.trials, seed=0)
    first, *later = (seconds_to_the_first_step(data, network) for network in networks)
    rows = []
    for i, what in enumerate(("first step begins", "first step's gradients are there")):
        rows.append({"until": what, "trial": "first of a worker", **summary([first[i]])})
        rows.append({"until": what, "trial": "later ones", **summary([each[i] for each in later])})
    keep(
        "trial_start",
        rows,
        folder=args.out,
        note=f"Seconds from a trial's start; other networks of mbconv_small at {SIDE} px each, "
        f"batches of {BATCH}, {len(data.train):,} training images of {data.name}.",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=["speed", "first_step"], nargs="?", default="speed")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--images", type=int, default=2560, help="Of an epoch.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="Of the plain loop's DataLoader.")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--trials", type=int, default=11, help="Of `first_step`.")
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    {"speed": measure_speed, "first_step": measure_first_step}[args.what](args)


if __name__ == "__main__":
    main()
