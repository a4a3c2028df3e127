"""MLPerf Tiny's ResNet-8 on CIFAR-10, against networks that a search finds within what it needs.

    SCALER_DATA=... python -m experiments.benchmarks.tiny

The search is `scaler search --space tiny` with ResNet-8's RAM and flash as limits and two targets:
its multiply-adds, and half of them. The most accurate network of each target is grown as `scaler
scale` does until a limit binds, where it leaves room. All are then trained anew, by one recipe with
new seeds, and tested as float and as int8 (by ONNX Runtime). No search has seen the test images.

Each training is one line of `tiny.jsonl`, and a search continues, so that a stopped series goes on.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.benchmarks import keep
from experiments.config.messages import say
from experiments.config.recipe import TrainConfig
from experiments.config.run_folder import RunFolder
from experiments.config.schema import DataConfig, SearchConfig
from experiments.config.search_section import SearchSection
from experiments.data.images import ImageData
from experiments.data.sources import load_data
from experiments.export.folder import write_exported
from experiments.export.model import checkpoint_model
from experiments.report.tables import load_front
from experiments.steps.noise import difference
from experiments.steps.search import search
from experiments.store.trials import load_trials
from experiments.training.checkpoint import save_checkpoint
from experiments.training.training import Training
from scaler.budget import CostName
from scaler.compound import CompoundCoefficients
from scaler.cost import device_cost
from scaler.within import scale_within
from search_spaces.architecture import Architecture
from search_spaces.records import InputError
from search_spaces.reference import load_architecture

RIVAL = "resnet8"
FOUND = {"found": 1.0, "found at half": 0.5}  # row -> share of the rival's multiply-adds
LIMITED: tuple[CostName, ...] = ("flops", "peak_ram", "flash")
ENOUGH = 0.95  # of the multiply-adds: nearer to the limit a network is not grown
NEW_SEEDS = 1_000_000  # as the confirmation's: no search has trained with them
SIZES = {"num_classes": 10, "in_channels": 3}


def limits(share: float) -> dict[CostName, float]:
    """What the rival has of each cost, of its multiply-adds the share."""
    cost = device_cost(load_architecture(RIVAL), **SIZES)
    return {name: getattr(cost, name) * (share if name == "flops" else 1) for name in LIMITED}


def read(path: Path) -> list[dict[str, Any]]:
    """What was done, in its order."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines()]


def write(path: Path, **line: Any) -> None:
    """One line more."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def images(limit: int, validation: int) -> DataConfig:
    """CIFAR-10 with so many images to learn from and to choose by, and all to test with."""
    return DataConfig(
        source="cifar10", crop_padding=4, train_limit=limit, validation_limit=validation
    )


def searched(args: argparse.Namespace) -> RunFolder:
    """The run of the search; one that is complete is read."""
    rival = limits(1.0)
    config = SearchConfig(
        name="tiny",
        run=args.run,
        data=images(args.search_images, args.validation_images),
        search=SearchSection(
            space="tiny",
            resolution=32,
            targets=tuple(sorted(share * rival["flops"] for share in FOUND.values())),
            min_flops=4e6,
            max_flops=rival["flops"],
            max_peak_ram=rival["peak_ram"],
            max_flash=rival["flash"],
            trials=args.trials,
            epochs=args.search_epochs,
        ),
        confirmation=None,
        cluster={"workers": 1},
    )
    return search(config).run


def grown(found: Architecture, share: float) -> Architecture:
    """The network grown until a limit binds; itself where little is left, or nothing fits."""
    within = limits(share)
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
    files = dict(zip(front["target"], front["baseline"], strict=True))
    found = {}
    for row, share in FOUND.items():
        file = run.path / str(files[share * limits(1.0)["flops"]])
        network = grown(load_architecture(file), share)
        found[row] = network.model_dump(mode="json", exclude_defaults=True)
    write(args.lines, found=found, trials=len(trials), epochs=int(trials["epochs"].sum()))


def networks(lines: list[dict[str, Any]]) -> dict[str, Architecture]:
    """The rival and what was found, by row."""
    (found,) = (line["found"] for line in lines if "found" in line)
    told = {row: Architecture.parse(found[row], source=row) for row in FOUND}
    return {RIVAL: load_architecture(RIVAL), **told}


def train(
    network: Architecture, data: ImageData, args: argparse.Namespace, seed: int
) -> dict[str, float]:
    """What one training gives, as float and int8; seconds are the processor's."""
    training = Training(
        architecture=network,
        data=data,
        data_config=images(args.train_images, args.validation_images),
        config=TrainConfig(),
        epochs=args.epochs,
        seed=NEW_SEEDS + seed,
    )
    began = time.process_time()
    *_, last = training.run()
    took = time.process_time() - began
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch) / "network.safetensors"
        save_checkpoint(checkpoint, last.network, metadata=training.metadata())
        folder = Path(scratch) / "exported"
        write_exported(checkpoint_model(checkpoint), folder, calibration=data)
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return {
        "float": metrics["onnx_test_accuracy"],
        "int8": metrics["int8_test_accuracy"],
        "int8_bytes": metrics["int8_bytes"],
        "validation": last.accuracy,
        "cpu_seconds": round(took, 1),
    }


def recipe(args: argparse.Namespace) -> dict[str, int]:
    """What is the same for all trainings that are compared."""
    return {"images": args.train_images, "trained_epochs": args.epochs}


def trainings(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The lines of the trainings of this recipe."""
    return [line for line in read(args.lines) if recipe(args).items() <= line.items()]


def train_all(args: argparse.Namespace) -> None:
    """Train what is missing; every row's first seed before any second."""
    data = load_data(images(args.train_images, args.validation_images), seed=0)
    rows = networks(read(args.lines))
    done = {(line["row"], line["seed"]) for line in trainings(args)}
    for seed in range(args.seeds):
        for row, network in rows.items():
            if (row, seed) in done:
                continue
            cost = device_cost(network, **SIZES)
            costs = {name: getattr(cost, name) for name in (*LIMITED, "params")}
            told = train(network, data, args, seed)
            write(args.lines, row=row, seed=seed, **recipe(args), **told, **costs)
            say(f"{row}, seed {seed}: float {told['float']:.4f}, int8 {told['int8']:.4f}")


def table(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a network; `p` is Welch's, of the difference to the rival."""
    by_row: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_row.setdefault(line["row"], []).append(line)
    told = []
    for row, own in by_row.items():
        shown: dict[str, Any] = {"network": row, "n": len(own)}
        for kind in ("float", "int8"):
            values, rivals = ([each[kind] for each in which] for which in (own, by_row[RIVAL]))
            shown[kind] = round(statistics.mean(values), 4)
            shown[f"{kind} spread"] = round(statistics.stdev(values), 4) if len(own) > 1 else None
            if row != RIVAL:
                gap = difference(values, rivals)
                p = None if math.isnan(gap.p) else float(f"{gap.p:.2g}")
                shown |= {f"{kind} over": round(gap.value, 4), f"{kind} p": p}
        shown |= {name: own[0][name] for name in (*LIMITED, "params")}
        shown["training s"] = round(statistics.mean(each["cpu_seconds"] for each in own), 1)
        told.append(shown)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for part, count in {"search": 5_000, "train": 10_000, "validation": 2_000}.items():
        parser.add_argument(f"--{part}-images", type=int, default=count)
    for name, count in {"trials": 24, "search-epochs": 3, "epochs": 3, "seeds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--run", type=Path, default=Path("runs/tiny"))
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    parser.add_argument("--table", action="store_true", help="Only of what was done.")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    args.lines = args.out / "tiny.jsonl"
    if not args.table:
        find(args)
        train_all(args)
    (told,) = (line for line in read(args.lines) if "found" in line)
    keep(
        "tiny",
        table(trainings(args)),
        folder=args.out,
        note=(
            f"CIFAR-10 at 32 px. Found: a search in the space `tiny` of {told['trials']} trials of "
            f"up to {args.search_epochs} epochs ({told['epochs']} in all) of "
            f"{args.search_images:,} images, chosen on {args.validation_images:,}, with the "
            f"rival's RAM (int8), flash and multiply-adds as limits. Trained by the default recipe "
            f"on {args.train_images:,} images for {args.epochs} epochs from scratch, tested on all "
            f"test images: `float` and `int8` are "
            f"means of `n` trainings with new seeds, `spread` their deviation; `over` is the "
            f"difference to {RIVAL}, `p` Welch's test of it. Training seconds are the processor's."
        ),
    )


if __name__ == "__main__":
    main()
