"""What a GPU is worth here: rates, trials that share it, CIFAR-10 to 94 %, share of its peak.

    SCALER_DATA=... python -m experiments.benchmarks.gpu

One call of under ten minutes, without network and without Ray. Only CIFAR-10 is read from disk; the
other parts train on random images. `--smoke` runs every part tiny on a CPU, to see that it runs:
such figures are printed and not kept.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from experiments.benchmarks import keep, machine
from experiments.config.recipe import TrainConfig, load_recipe
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData, Split
from experiments.data.sources import load_data
from experiments.training.hardware import autocast, choose_precision
from experiments.training.loop import EpochResult, train_epochs
from scaler import measure_cost
from search_spaces import Architecture, build_network, load_architecture, load_space, resize
from search_spaces.records import InputError

Rows = list[dict[str, Any]]

AIRBENCH = 2.6  # seconds to 94 % on an A100, from its README: a network made for that alone
GOAL = 0.94
# Dense bfloat16 FLOP/s by the makers' data sheets; a multiply-add counts as two.
PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12}


def random_data(images: int, size: int, *, classes: int = 10) -> ImageData:
    """So many random training images of `size` pixels; a few for validation."""
    random = np.random.RandomState(0)
    pixels = random.randint(0, 256, (images, 3, size, size), dtype=np.uint8)
    split = Split(pixels, np.arange(images) % classes)
    some = split.take(slice(0, 8))
    return ImageData("random", tuple(map(str, range(classes))), split, some, some, "0" * 16)


@cache
def small_network() -> Architecture:
    """About 10 MFLOPs at 32 px: the nearest of 60 members of `mbconv_small`."""
    members = load_space("mbconv_small").at(32).members(60, seed=0)
    return min(members, key=lambda member: abs(measure_cost(member).flops - 10e6))


def _epochs(
    architecture: Architecture, data: ImageData, *, device: str, batch: int, epochs: int = 2
) -> Iterator[EpochResult]:
    torch.manual_seed(0)
    return train_epochs(
        build_network(architecture, num_classes=data.num_classes),
        data,
        config=TrainConfig(batch_size=batch, layout="channels_last"),
        epochs=epochs,
        resolution=architecture.resolution,
        augmentation=DataConfig(flip=True).varied(),
        seed=0,
        device=device,
    )


def our_rate(architecture: Architecture, data: ImageData, *, device: str, batch: int) -> float:
    """Training images a second in the second epoch; the first warms up."""
    results = _epochs(architecture, data, device=device, batch=batch)
    next(results)
    return len(data.train) / next(results).seconds


class _Loaded(Dataset[tuple[Tensor, int]]):
    """As torchvision's data sets in memory: an image at a time, flipped and normalised."""

    def __init__(self, split: Split) -> None:
        self._images, self._labels = torch.from_numpy(split.images), split.labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        image = self._images[number].float().div_(255).sub_(0.5).div_(0.25)
        return (image.flip(2) if torch.rand(()) < 0.5 else image), int(self._labels[number])


def plain_rate(
    architecture: Architecture, data: ImageData, *, device: str, batch: int, workers: int
) -> float:
    """The same network, precision and layout in the loop that one writes with a DataLoader."""
    where = torch.device(device)
    precision = choose_precision("auto", where)
    network = build_network(architecture, num_classes=data.num_classes).to(where).train()
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    loader = DataLoader(
        _Loaded(data.train),  # type: ignore[arg-type]
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=where.type == "cuda",
        persistent_workers=workers > 0,
    )
    seconds = 0.0
    for _ in range(2):  # the first epoch warms up
        began = time.perf_counter()
        for images, labels in loader:
            images = images.to(where, non_blocking=True, memory_format=torch.channels_last)
            with autocast(where, precision):
                loss = nn.functional.cross_entropy(
                    network(images), labels.to(where, non_blocking=True)
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        _wait(device)
        seconds = time.perf_counter() - began
    return len(data.train) / seconds


def rates(*, device: str, smoke: bool) -> Rows:
    """Images a second and peak memory of three networks at two sizes, over the plain loop's."""
    networks = {"10 MFLOPs": small_network()}
    if not smoke:
        networks |= {name: load_architecture(name) for name in ("efficientnet_b0", "mobilenet_v2")}
    rows = []
    for size, images, batch in ((32, 32, 8),) if smoke else ((32, 25_600, 256), (224, 5_120, 128)):
        data = random_data(images, size)
        for name, network in networks.items():
            sized = resize(network, resolution=size)
            ours, peak = _with_peak(
                partial(our_rate, sized, data, device=device, batch=batch), device
            )
            workers = 0 if smoke else min(8, os.cpu_count() or 1)
            plain = plain_rate(sized, data, device=device, batch=batch, workers=workers)
            row = {"network": name, "px": size, "images/s": round(ours), "plain": round(plain)}
            rows.append({**row, "x": round(ours / plain, 2), "peak GB": peak})
    return rows


def sharing(*, device: str, smoke: bool) -> Rows:
    """Trials an hour of K processes on one card, over those of one; data are read beforehand."""
    rows, alone = [], 0.0
    for count in (1, 2) if smoke else (1, 2, 4, 8):
        jobs = [(device, smoke)] * (2 * count)
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            list(pool.map(_trial, jobs[:count]))  # each process begins: torch, CUDA, data
            began = time.perf_counter()
            list(pool.map(_trial, jobs))
            seconds = time.perf_counter() - began
        rate = 3600 * len(jobs) / seconds
        alone = alone or rate
        rows.append({"trials at a time": count, "trials/h": round(rate), "x": rate / alone})
    return rows


_READ: dict[int, ImageData] = {}  # once a process


def _trial(job: tuple[str, bool]) -> float:
    """One short training of a small network, as a worker of a search does it."""
    device, smoke = job
    torch.set_num_threads(1)
    images = 64 if smoke else 10_000
    if images not in _READ:
        _READ[images] = random_data(images, 32)
    results = _epochs(small_network(), _READ[images], device=device, batch=16 if smoke else 128)
    return [result.accuracy for result in results][-1]


def cifar_94(source: str, *, device: str, smoke: bool, seeds: int = 3) -> Rows:
    """Seconds until 94 % of the test images are right, of 3 seeds; data are read beforehand.

    The network is cifar_resnet20, four times as wide; the recipe is `modern`, with 20 epochs. It
    looks at the test part after each epoch and stops there, as airbench is measured.
    """
    section = DataConfig(source=source, crop_padding=4, flip=True, validation_fraction=0.02)
    try:
        data = load_data(section.replace(train_limit=64) if smoke else section, seed=0)
    except InputError as error:
        return [{"what": f"left out: {error}"}]
    data = replace(data, validation=data.test.take(slice(0, 64)) if smoke else data.test)
    thin = load_architecture("cifar_resnet20")
    stages = [stage.replace(channels=4 * stage.channels) for stage in thin.stages]
    wide = thin.replace(name="wide", stages=tuple(stages))
    network = resize(thin, resolution=8) if smoke else wide
    epochs, batch = (2, 16) if smoke else (20, 512)
    recipe = load_recipe("modern").replace(batch_size=batch, ema_decay=None)
    rows = []
    for seed in range(1 if smoke else seeds):
        torch.manual_seed(seed)
        built = build_network(network, num_classes=data.num_classes, in_channels=data.channels)
        _wait(device)
        began, accuracy, epoch = time.perf_counter(), 0.0, 0
        for result in train_epochs(
            built,
            data,
            config=recipe,
            epochs=epochs,
            resolution=network.resolution,
            augmentation=section.varied(recipe.augmentation),
            seed=seed,
            device=device,
        ):
            accuracy, epoch = result.accuracy, result.epoch
            if accuracy >= GOAL:
                break
        seconds = round(time.perf_counter() - began, 1)
        row = {"seed": seed, "accuracy": accuracy, "epochs": epoch, "seconds": seconds}
        rows.append({**row, "reached": accuracy >= GOAL, "x airbench": round(seconds / AIRBENCH)})
    return rows


def share_of_peak(*, device: str, smoke: bool) -> Rows:
    """Of the card's bfloat16 peak, what training ResNet-50 at 224 px uses."""
    network = load_architecture("resnet50")
    if smoke:
        network = resize(network, resolution=32)
    data = random_data(8 if smoke else 5_120, network.resolution, classes=1000)
    batch = 4 if smoke else 256
    rate, memory = _with_peak(lambda: our_rate(network, data, device=device, batch=batch), device)
    used = rate * 6 * measure_cost(network).flops  # forward and twice that backward, by two each
    card = str(machine().get("card", ""))
    row: dict[str, Any] = {"network": network.name, "images/s": round(rate), "TFLOP/s": used / 1e12}
    for what, peak in (("data sheet", _peak_of(card)), ("one matmul", matmul_rate(device, smoke))):
        row[f"share of {what}"] = None if peak is None else round(used / peak, 3)
    return [{**row, "peak GB": memory}]


def _peak_of(card: str) -> float | None:
    return next((peak for name, peak in PEAKS.items() if name in card), None)


def matmul_rate(device: str, smoke: bool) -> float:
    """FLOP/s of a large product of two bfloat16 matrices: what can really be had of the card."""
    side, runs = (64, 2) if smoke else (8192, 50)
    left, right = (torch.ones(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    left @ right
    _wait(device)
    began = time.perf_counter()
    for _ in range(runs):
        left @ right
    _wait(device)
    return 2 * side**3 * runs / (time.perf_counter() - began)


def _with_peak(work: Callable[[], float], device: str) -> tuple[float, float | None]:
    """What `work` gives, and the most memory in GB that torch held meanwhile; None on a CPU."""
    if device == "cpu":
        return work(), None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    found = work()
    return found, round(torch.cuda.max_memory_allocated() / 1e9, 2)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def main() -> None:
    """Run every part, cheapest first, and keep each as it ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", help="CIFAR-10's folder, if it is not found by its name.")
    parser.add_argument("--smoke", action="store_true", help="Tiny, on a CPU: to see that it runs.")
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    if not args.smoke and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --smoke runs every part tiny on a CPU")
    how: dict[str, Any] = {"device": "cpu" if args.smoke else "cuda", "smoke": args.smoke}
    source = args.data or ("digits" if args.smoke else "cifar10")
    parts: dict[str, tuple[Callable[[], Rows], str]] = {
        "gpu_peak": (lambda: share_of_peak(**how), "ResNet-50 at 224 px, share of bf16 peak."),
        "gpu_rates": (lambda: rates(**how), "Images a second, and a plain DataLoader loop's."),
        "gpu_sharing": (lambda: sharing(**how), "Small trials that share one card."),
        "gpu_cifar": (
            lambda: cifar_94(source, **how),
            f"CIFAR-10 to 94 % on the test part. airbench: {AIRBENCH} s on an A100.",
        ),
    }
    began = time.perf_counter()
    for name, (measure, note) in parts.items():
        rows = measure()
        if args.smoke:
            print(name, rows)
        else:
            keep(name, rows, folder=args.out, note=note)
    print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
