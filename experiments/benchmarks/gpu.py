"""What needs a GPU: small trials that share it, 94 % on CIFAR-10, B0 against timm's loop.

    SCALER_DATA=... python -m experiments.benchmarks.gpu

`--quick --device cpu` runs all of it in minutes on a CPU, to see that it runs; such figures are
printed and not kept. Device-resident data against a DataLoader is benchmarks.input_pipeline.
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.benchmarks import keep
from experiments.config.recipe import TrainConfig, load_recipe
from experiments.config.schema import DataConfig
from experiments.data.images import ImageData, Split
from experiments.data.sources import load_data
from experiments.training.loop import train_epochs
from experiments.training.members.folder import TrainRequest
from experiments.training.members.run import train_member
from search_spaces import build_network, load_architecture, load_space

Rows = list[dict[str, Any]]


def sharing(data: DataConfig, *, device: str, counts: tuple[int, ...], quick: bool) -> Rows:
    """Trials an hour of K processes on one GPU, over those of one process."""
    limit = 512 if quick else None
    section = data.replace(train_limit=limit, validation_limit=limit)
    rows, alone = [], 0.0
    for count in (1, *counts):
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            list(pool.map(_trial, [(section, device, seed) for seed in range(count)]))  # warm
            began = time.perf_counter()
            list(pool.map(_trial, [(section, device, seed) for seed in range(2 * count)]))
            seconds = time.perf_counter() - began
        rate = 3600 * 2 * count / seconds
        alone = alone or rate
        rows.append({"what": f"{count} at a time", "trials/h": round(rate), "x": rate / alone})
    return rows


_DATA: dict[DataConfig, ImageData] = {}


def _trial(job: tuple[DataConfig, str, int]) -> float:
    """One short training of a small network, as a worker of the search does it."""
    section, device, seed = job
    data = _DATA.setdefault(section, load_data(section, seed=0))
    torch.set_num_threads(1)
    network = load_space("mbconv_small").at(32).members(1, seed=0)[0]
    torch.manual_seed(seed)
    (result,) = train_epochs(
        build_network(network, num_classes=data.num_classes),
        data,
        config=TrainConfig(batch_size=128, learning_rate=0.2),
        epochs=1,
        resolution=32,
        augmentation=section.varied(),
        seed=seed,
        device=device,
    )
    return result.accuracy


def cifar_94(data: DataConfig, *, device: str, quick: bool) -> Rows:
    """Wall time of `scaler train cifar_resnet20` and up with `modern` until 94 % on the test."""
    epochs = 1 if quick else 60
    section = data.replace(validation_fraction=0.02, train_limit=512 if quick else None)
    recipe = load_recipe("modern").replace(device=device, batch_size=256)
    rows = []
    for name in ("cifar_resnet20",) if quick else ("cifar_resnet20", "cifar_resnet56"):
        request = TrainRequest(
            architecture=load_architecture(name), data=section, train=recipe, epochs=epochs
        )
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            trained = train_member(request, Path(folder) / "run")
            seconds = time.perf_counter() - began
        rows.append({"what": name, "test accuracy": trained.test_accuracy, "seconds": seconds})
    return rows


def b0_rate(*, device: str, quick: bool, rounds: int = 5) -> Rows:
    """Images a second of EfficientNet-B0 at 224 px: our loop, and timm's network in timm's loop."""
    batch, batches = (4, 2) if quick else (128, 20)
    images = torch.randint(0, 256, (batch * batches, 3, 224, 224), dtype=torch.uint8).numpy()
    labels = torch.arange(batch * batches).numpy() % 1000
    split = Split(images, labels)
    some = split.take(slice(0, 2))
    data = ImageData("random", tuple(map(str, range(1000))), split, some, some, "0" * 16)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(len(split) / _our_epoch(data, batch, device))
        theirs.append(len(split) / _timm_epoch(data, batch, device))
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return [
        {"what": "ours", "images/s": statistics.median(ours), "x": ratio},
        {"what": "timm's", "images/s": statistics.median(theirs), "x": 1.0},
    ]


def _our_epoch(data: ImageData, batch: int, device: str) -> float:
    network = build_network(load_architecture("efficientnet_b0"))
    config = load_recipe("efficientnet").replace(batch_size=batch, augmentation=None)
    results = train_epochs(
        network,
        data,
        config=config,
        epochs=2,
        resolution=224,
        augmentation=DataConfig(flip=True).varied(),
        seed=0,
        device=device,
    )
    next(results)  # warm
    return next(results).seconds


def _timm_epoch(data: ImageData, batch: int, device: str) -> float:
    """As timm's train.py steps: channels_last, autocast, RMSpropTF, ModelEma, images on the device.

    Its data loader is left out, so that what is compared is the loop and not the disk.
    """
    import timm
    from timm.optim import create_optimizer_v2
    from timm.utils import ModelEmaV3

    where = torch.device(device)
    network = timm.create_model("efficientnet_b0").to(where, memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(network, opt="rmsproptf", lr=0.016, weight_decay=1e-5)
    average = ModelEmaV3(network, decay=0.9999)
    images = torch.from_numpy(data.train.images).to(where)  # type: ignore[union-attr]
    labels = torch.from_numpy(data.train.labels).to(where)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    seconds = 0.0
    for _ in range(2):
        began = time.perf_counter()
        for start in range(0, len(labels), batch):
            some = images[start : start + batch].float().div_(255).sub_(0.5).div_(0.25)
            some = some.contiguous(memory_format=torch.channels_last)
            with torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda"):
                output = loss(network(some), labels[start : start + batch])
            optimizer.zero_grad()
            output.backward()
            optimizer.step()
            average.update(network)
        if where.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--quick", action="store_true", help="To see that it runs.")
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    data = DataConfig(source=args.data, crop_padding=4)
    counts = (2,) if args.quick else (2, 4, 8)
    common = {"device": args.device, "quick": args.quick}
    parts = {
        "gpu_sharing": (sharing(data, counts=counts, **common), "Small trials on one GPU."),
        "gpu_b0": (b0_rate(**common, rounds=1 if args.quick else 5), "EfficientNet-B0, 224 px."),
        "gpu_cifar": (
            cifar_94(data, **common),
            "CIFAR-10 with the recipe `modern`. airbench's ceiling: 94 % in 2.6 s on an A100 "
            "(its README), with a network and a schedule made for that alone.",
        ),
    }
    for name, (rows, note) in parts.items():
        if args.quick:
            print(name, rows)
        else:
            keep(name, rows, folder=args.out, note=note)


if __name__ == "__main__":
    main()
