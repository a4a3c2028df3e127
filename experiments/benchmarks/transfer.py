"""Clothing photographs, learnt from scratch and after CIFAR-10, for the same number of epochs.

    SCALER_DATA=... python -m experiments.benchmarks.transfer
    SCALER_DATA=... python -m experiments.benchmarks.transfer --members
    SCALER_DATA=... python -m experiments.benchmarks.transfer --masks --epochs 10

A network of mbconv_small is trained on CIFAR-10, then on the clothing data set (CC0) with that
start in four ways, and without it. Test accuracies are of the best epoch's weights, by seed.
With `--members` a network is trained on clothing itself, and then one of four times its FLOPs: from
scratch, and from the first one's weights, laid into its own. With `--masks` the body of a U-Net is
trained as a classifier of CIFAR-10, and the U-Net then on the masks of the config `aerial`, with
that start and without it. Rows are kept as they come.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from experiments.benchmarks import keep
from experiments.config.recipe import TrainConfig
from experiments.config.schema import DataConfig, SearchConfig
from experiments.training.members.folder import TrainRequest
from experiments.training.members.run import train_member
from scaler.compound import CompoundCoefficients
from scaler.cost import measure_cost
from scaler.scaled import scale_to_flops
from search_spaces import load_architecture, load_space
from search_spaces.architecture import Architecture
from search_spaces.heads import Head, UNetHead
from search_spaces.reference.segmentation import DECODER

# way -> what differs from training from scratch
WAYS: dict[str, dict[str, Any]] = {
    "from scratch": {},
    "all layers": {"init_from": True},
    "all layers, a tenth of the rate": {"init_from": True, "rate": 0.1},
    "rates falling by 0.7 a stage": {"init_from": True, "layer_decay": 0.7},
    "stem and first two stages frozen": {"init_from": True, "frozen": 2},
}


def smallest_network(*, resolution: int) -> Architecture:
    """Of fifty random members of mbconv_small, the one of fewest FLOPs."""
    members = load_space("mbconv_small").at(resolution).members(50, seed=0)
    return min(members, key=lambda member: measure_cost(member, num_classes=10).flops)


def request(
    architecture: Architecture, data: DataConfig, *, epochs: int, seed: int, **way: Any
) -> TrainRequest:
    train = TrainConfig(
        batch_size=64,
        learning_rate=0.1 * way.pop("rate", 1.0),
        layer_decay=way.pop("layer_decay", 1.0),
        device="auto",
    )
    return TrainRequest(
        architecture=architecture, data=data, train=train, epochs=epochs, seed=seed, **way
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name in ("--members", "--masks"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--pretrain-images", type=int, default=20_000)
    parser.add_argument("--pretrain-epochs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--resolution", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    if args.members:
        members(args.epochs, args.resolution, args.seeds, args.out)
    elif args.masks:
        masks(args)
    else:
        ways(args)


def members(epochs: int, resolution: int, seeds: int, out: Path) -> None:
    """A member of four times the baseline's FLOPs, from scratch and from the baseline's weights."""
    baseline = smallest_network(resolution=32).replace(name="baseline", resolution=resolution)
    cost = measure_cost(baseline, num_classes=10)
    grown = scale_to_flops(
        baseline, target_flops=4 * cost.flops, coefficients=CompoundCoefficients(), num_classes=10
    ).architecture
    data = DataConfig(source="clothing", image_size=grown.resolution, crop_padding=4)
    starts: dict[str, list[float]] = {
        "the baseline": [],
        "from scratch": [],
        "from its weights": [],
    }
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(seeds):
            first = train_member(
                request(baseline, data, epochs=epochs, seed=seed), Path(scratch) / f"{seed}"
            )
            starts["the baseline"].append(first.test_accuracy)
            for name, own in (
                ("from scratch", {}),
                ("from its weights", {"init_from": str(first.folder.best)}),
            ):
                wanted = request(grown, data, epochs=epochs, seed=seed, **own)
                found = train_member(wanted, Path(scratch) / f"{name}-{seed}")
                starts[name].append(found.test_accuracy)
            keep_starts(
                "transfer_members",
                starts,
                folder=out,
                note=(
                    f"Clothing (10 classes, 3,068 training images), {epochs} epochs each: a "
                    f"network of mbconv_small at {resolution} px ({cost.flops:,} FLOPs), and its "
                    f"member of four times the FLOPs at {grown.resolution} px."
                ),
            )


def masks(args: argparse.Namespace) -> None:
    """A U-Net on land cover, from scratch and from its body's weights as a classifier."""
    config = SearchConfig.load("aerial")
    segmenter = load_architecture("mobilenet_v2").replace(
        name="unet_mobilenet_v2", resolution=96, head=UNetHead(kind="unet", widths=DECODER)
    )
    small = scale_to_flops(
        segmenter, target_flops=6e7, coefficients=CompoundCoefficients(), num_classes=5
    ).architecture.replace(resolution=96)
    body = small.replace(name="body", resolution=args.resolution, head=Head())
    cifar = DataConfig(
        source="cifar10",
        train_limit=args.pretrain_images,
        validation_limit=2_000,
        crop_padding=4,
    )
    cost = measure_cost(small, num_classes=5)
    starts: dict[str, list[float]] = {"from scratch": [], "from a classifier's body": []}
    with tempfile.TemporaryDirectory() as scratch:
        before = request(body, cifar, epochs=args.pretrain_epochs, seed=0)
        classifier = train_member(before, Path(scratch) / "cifar10")
        for seed in range(args.seeds):
            for name, own in zip(starts, (None, str(classifier.folder.best)), strict=True):
                wanted = TrainRequest(
                    architecture=small,
                    data=config.data,
                    train=config.train,
                    epochs=args.epochs,
                    seed=seed,
                    init_from=own,
                )
                found = train_member(wanted, Path(scratch) / f"{name}-{seed}")
                starts[name].append(found.test_accuracy)
            keep_starts(
                "transfer_masks",
                starts,
                folder=args.out,
                note=(
                    f"Land cover (the config `aerial`, 5 classes, 96 px), test Dice after "
                    f"{args.epochs} epochs: U-Net on mobilenet_v2, {cost.flops / 1e6:.1f} MFLOPs. "
                    f"Its body was trained on {args.pretrain_images:,} images of CIFAR-10 at "
                    f"{args.resolution} px, {args.pretrain_epochs} epochs (test accuracy "
                    f"{classifier.test_accuracy:.4f})."
                ),
            )


def keep_starts(name: str, starts: dict[str, list[float]], *, folder: Path, note: str) -> None:
    """A row a start, with what each seed reached on the test part."""
    rows = [
        {
            "start": start,
            "n": len(values),
            "test, mean": round(statistics.mean(values), 4),
            "seeds": ", ".join(f"{value:.4f}" for value in values),
        }
        for start, values in starts.items()
    ]
    keep(name, rows, folder=folder, note=note)


def ways(args: argparse.Namespace) -> None:
    """The four ways to go on from CIFAR-10, and from scratch."""
    network = smallest_network(resolution=32)
    cifar = DataConfig(
        source="cifar10",
        train_limit=args.pretrain_images,
        validation_limit=2_000,
        crop_padding=4,
    )
    clothing = DataConfig(source="clothing", image_size=56, crop_padding=4)
    with tempfile.TemporaryDirectory() as scratch:
        pretrained = train_member(
            request(network, cifar, epochs=args.pretrain_epochs, seed=0), Path(scratch) / "cifar10"
        )
        start = str(pretrained.folder.best)
        rows = []
        for name, way in WAYS.items():
            own = {**way, **({"init_from": start} if "init_from" in way else {})}
            found = [
                train_member(
                    request(
                        network.replace(resolution=args.resolution),
                        clothing,
                        epochs=args.epochs,
                        seed=seed,
                        **own,
                    ),
                    Path(scratch) / f"{name}-{seed}",
                )
                for seed in range(args.seeds)
            ]
            accuracies = [each.test_accuracy for each in found]
            rows.append(
                {
                    "way": name,
                    "n": len(found),
                    "validation": round(statistics.mean(each.accuracy for each in found), 4),
                    "test, mean": round(statistics.mean(accuracies), 4),
                    "min": round(min(accuracies), 4),
                    "max": round(max(accuracies), 4),
                }
            )
    cost = measure_cost(network, num_classes=10)
    keep(
        "transfer",
        rows,
        folder=args.out,
        note=(
            f"Clothing (10 classes, 3,068 training images) at {args.resolution} px, {args.epochs} "
            f"epochs each, a network of mbconv_small with {cost.params:,} parameters; the start "
            f"is {args.pretrain_epochs} epochs on {args.pretrain_images:,} images of CIFAR-10 at "
            f"32 px (test accuracy {pretrained.test_accuracy:.4f})."
        ),
    )


if __name__ == "__main__":
    main()
