"""The parts of the benchmark of a GPU: each yields the rows of its table as they are measured."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from experiments.benchmarks import machine
from experiments.config.recipe import TrainConfig, load_recipe
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData, Split
from experiments.data.sources import load_data
from experiments.training.checkpoint import TrainedEpoch
from experiments.training.hardware import autocast, choose_precision
from experiments.training.loop import train_epochs
from scaler import measure_cost
from search_spaces import Architecture, build_network, load_architecture, load_space, resize
from search_spaces.records import InputError

Row = dict[str, Any]
Job = tuple[Architecture, str, bool]  # a network, the device, and whether it is the smoke run

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
    architecture: Architecture,
    data: ImageData,
    *,
    device: str,
    batch: int,
    compiled: Literal["auto", "never", "always"] = "auto",
) -> Iterator[TrainedEpoch]:
    torch.manual_seed(0)
    return train_epochs(
        build_network(architecture, num_classes=data.num_classes),
        data,
        config=TrainConfig(batch_size=batch, layout="channels_last", compiled=compiled),
        epochs=2,
        resolution=architecture.resolution,
        augmentation=DataConfig(flip=True).varied(),
        seed=0,
        device=device,
    )


def our_rate(
    architecture: Architecture,
    data: ImageData,
    *,
    device: str,
    batch: int,
    compiled: Literal["auto", "never", "always"] = "auto",
) -> float:
    """Training images a second in the second epoch; the first warms up, and compiles."""
    results = _epochs(architecture, data, device=device, batch=batch, compiled=compiled)
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


def rates(*, device: str, smoke: bool) -> Iterator[Row]:
    """Images a second and peak memory of three networks at two sizes, over the plain loop's."""
    networks = {"10 MFLOPs": small_network()}
    if not smoke:
        networks |= {name: load_architecture(name) for name in ("efficientnet_b0", "mobilenet_v2")}
    for size, images, batch in ((32, 32, 8),) if smoke else ((32, 25_600, 256), (224, 5_120, 128)):
        data = random_data(images, size)
        workers = 0 if smoke else loader_workers(batch * 3 * size**2 * 4)
        for name, network in networks.items():
            sized = resize(network, resolution=size)
            ours, peak = _with_peak(
                partial(our_rate, sized, data, device=device, batch=batch), device
            )
            plain = plain_rate(sized, data, device=device, batch=batch, workers=workers)
            row = {"network": name, "px": size, "images/s": round(ours), "plain": round(plain)}
            yield {**row, "x": round(ours / plain, 2), "loader workers": workers, "peak GB": peak}


def loader_workers(batch_bytes: int) -> int:
    """8 processes for the plain loop, fewer where CPUs or shared memory are few.

    Each keeps up to three batches in /dev/shm, which is 64 MB in many containers.
    """
    shared = Path("/dev/shm")
    room = shutil.disk_usage(shared).free if shared.is_dir() else 0
    return min(8, os.cpu_count() or 1, room // (3 * batch_bytes))


def compiled(*, device: str, smoke: bool) -> Iterator[Row]:
    """The small network's images a second with torch.compile and CUDA graphs, over without."""
    network, data = small_network(), random_data(32 if smoke else 25_600, 32)
    how: dict[str, Any] = {"device": device, "batch": 8 if smoke else 256}
    plain = our_rate(network, data, **how)
    began = time.perf_counter()
    fast = our_rate(network, data, **how, compiled="never" if smoke else "always")
    row = {"network": "10 MFLOPs", "images/s": round(plain), "compiled": round(fast)}
    yield {**row, "x": round(fast / plain, 2), "s in all": round(time.perf_counter() - began)}


def sharing(*, device: str, smoke: bool) -> Iterator[Row]:
    """Trials an hour of K processes on one card, over those of one; data are read beforehand."""
    context, alone = get_context("spawn"), 0.0
    job = (small_network(), device, smoke)
    for count in (1, 2) if smoke else (1, 2, 4, 8):
        together = context.Barrier(count)
        with context.Pool(count, initializer=_begin, initargs=(job, together)) as pool:
            pool.map(_meet, range(count), chunksize=1)  # until each process has trained once
            began = time.perf_counter()
            pool.map(_trial, [job] * (2 * count), chunksize=1)
            seconds = time.perf_counter() - began
        rate = 3600 * 2 * count / seconds
        alone = alone or rate
        yield {"trials at a time": count, "trials/h": round(rate), "x": round(rate / alone, 2)}


_READ: dict[int, ImageData] = {}  # once a process
_TOGETHER: list[Barrier] = []


def _begin(job: Job, together: Barrier) -> None:
    """In each process of a pool: torch, CUDA, the data, and a first trial that warms up."""
    _TOGETHER.append(together)
    _trial(job)


def _meet(_: int) -> None:
    _TOGETHER[0].wait(timeout=120)  # seconds; a process that failed would be waited for for ever


def _trial(job: Job) -> float:
    """One short training of a small network, as a worker of a search does it."""
    network, device, smoke = job
    torch.set_num_threads(1)
    images = 64 if smoke else 10_000
    if images not in _READ:
        _READ[images] = random_data(images, 32)
    results = _epochs(network, _READ[images], device=device, batch=16 if smoke else 128)
    return [result.accuracy for result in results][-1]


def cifar_94(source: str, *, device: str, smoke: bool, seeds: int = 3) -> Iterator[Row]:
    """Seconds until 94 % of the test images are right, of 3 seeds; data are read beforehand.

    The network is cifar_resnet20, four times as wide; the recipe is `modern`, with 20 epochs. It
    looks at the test part after each epoch and stops there, as airbench is measured. A few steps
    before the first seed warm up and time the layout.
    """
    section = DataConfig(source=source, crop_padding=4, flip=True, validation_fraction=0.02)
    try:
        data = load_data(section.replace(train_limit=64) if smoke else section, seed=0)
    except InputError as error:
        yield {"what": f"left out: {error}"}
        return
    data = replace(data, validation=data.test.take(slice(0, 64)) if smoke else data.test)
    thin = load_architecture("cifar_resnet20")
    stages = [stage.replace(channels=4 * stage.channels) for stage in thin.stages]
    wide = thin.replace(name="wide", stages=tuple(stages))
    network = resize(thin, resolution=8) if smoke else wide
    epochs, batch = (2, 16) if smoke else (20, 512)
    recipe = load_recipe("modern").replace(batch_size=batch, ema_decay=None)

    def trained(images: ImageData, epochs: int, seed: int) -> Iterator[TrainedEpoch]:
        torch.manual_seed(seed)
        built = build_network(network, num_classes=data.num_classes, in_channels=data.channels)
        return train_epochs(
            built,
            images,
            config=recipe,
            epochs=epochs,
            resolution=network.resolution,
            augmentation=section.varied(recipe.augmentation),
            seed=seed,
            device=device,
        )

    list(trained(replace(data, train=data.train.take(slice(0, 4 * batch))), 1, 0))
    for seed in range(1 if smoke else seeds):
        _wait(device)
        began, accuracy, epoch = time.perf_counter(), 0.0, 0
        for result in trained(data, epochs, seed):
            accuracy, epoch = result.accuracy, result.epoch
            if accuracy >= GOAL:
                break
        seconds = round(time.perf_counter() - began, 1)
        row = {"seed": seed, "accuracy": accuracy, "epochs": epoch, "seconds": seconds}
        yield {**row, "reached": accuracy >= GOAL, "x airbench": round(seconds / AIRBENCH, 1)}


def share_of_peak(*, device: str, smoke: bool) -> Iterator[Row]:
    """Of the card's bfloat16 peak, what training ResNet-50 at 224 px uses."""
    network = load_architecture("resnet50")
    if smoke:
        network = resize(network, resolution=32)
    data = random_data(8 if smoke else 5_120, network.resolution, classes=1000)
    batch = 4 if smoke else 256
    rate, memory = _with_peak(lambda: our_rate(network, data, device=device, batch=batch), device)
    used = rate * 6 * measure_cost(network).flops  # forward and twice that backward, by two each
    card = str(machine().get("card", ""))
    row: Row = {"network": network.name, "images/s": round(rate), "TFLOP/s": round(used / 1e12, 3)}
    for what, peak in (("data sheet", _peak_of(card)), ("one matmul", matmul_rate(device, smoke))):
        row[f"share of {what}"] = None if peak is None else round(used / peak, 3)
    yield {**row, "peak GB": memory}


def _peak_of(card: str) -> float | None:
    return next((peak for name, peak in PEAKS.items() if name in card), None)


def matmul_rate(device: str, smoke: bool) -> float:
    """FLOP/s of a large product of two bfloat16 matrices: what can really be had of the card."""
    side, runs = (64, 2) if smoke else (8192, 100)
    # Not of ones: a card computes on equal bits with less power, and so faster than it ever trains.
    left, right = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    for _ in range(runs // 5 + 1):  # until the clock is up
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
