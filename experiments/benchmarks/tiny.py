"""MLPerf Tiny's networks, against those that a search finds within what they need.

    SCALER_DATA=... python -m experiments.benchmarks.tiny
    SCALER_DATA=... python -m experiments.benchmarks.tiny --task clothing --epochs 20
    SCALER_DATA=... python -m experiments.benchmarks.tiny --only cifar_resnet20 --fine-tune 2

The search on CIFAR-10 is `scaler search --space tiny` with ResNet-8's RAM and flash as limits and
two targets: its multiply-adds, and half of them. On clothing photographs the rival is the body of
person detection, and the limits are 64 KiB, 250 KiB and its multiply-adds. The most accurate
network of each target is grown as `scaler scale` does until a limit binds, where it leaves room.
All are then trained anew, by one recipe with new seeds, and tested as float and as int8 (by ONNX
Runtime). No search has seen the test images.

With `--only` there is no search: what int8 costs the named networks. With `--fine-tune N` each is
then trained on for N epochs as int8, and beside that for as many in float.

Each training is one line of `<task>.jsonl`, and a search continues, so that a stopped series goes
on.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks import keep
from experiments.benchmarks.parts.tiny_search import (
    LIMITED,
    SIZES,
    TASKS,
    find,
    images,
    networks,
    read,
    write,
)
from experiments.config.messages import say
from experiments.config.recipe import TrainConfig
from experiments.data.images import ImageData
from experiments.data.sources import load_data
from experiments.export.fine_tuning import fine_tuned, trained_on
from experiments.export.folder import write_exported
from experiments.export.formats import write_onnx
from experiments.export.int8 import quantise
from experiments.export.model import Model, checkpoint_model
from experiments.steps.noise import difference
from experiments.training.checkpoint import save_checkpoint
from experiments.training.training import Training
from scaler.cost import device_cost
from search_spaces.architecture import Architecture
from search_spaces.folding import fold_batch_norm
from search_spaces.reference import load_architecture

KINDS = ("float", "int8", "int8 tuned", "int8 longer", "float longer")
NEW_SEEDS = 1_000_000  # as the confirmation's: no search has trained with them


def train(
    network: Architecture, data: ImageData, args: argparse.Namespace, seed: int
) -> dict[str, float]:
    """What one training gives, as float and int8; seconds are the processor's."""
    training = Training(
        architecture=network,
        data=data,
        data_config=images(args.task, args.train_images, args.validation_images),
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
        longer = trained_longer(checkpoint_model(checkpoint), data, args.fine_tune)
    return {
        "float": metrics["onnx_test_accuracy"],
        "int8": metrics["int8_test_accuracy"],
        "int8_bytes": metrics["int8_bytes"],
        "validation": last.accuracy,
        "cpu_seconds": round(took, 1),
        **longer,
    }


def trained_longer(model: Model, data: ImageData, epochs: int) -> dict[str, float]:
    """What further epochs give: as int8 (quantisation-aware), and in float, then made int8.

    Both go from the same weights, by the same recipe; what int8 itself regains is the first
    accuracy less the last.
    """
    if not epochs:
        return {}
    exact = deepcopy(model.network)
    fold_batch_norm(exact.eval())
    for _ in trained_on(exact, model, data, epochs=epochs):
        pass
    size = model.preprocessing.size
    told: dict[str, float] = {}
    ways = {"tuned": fine_tuned(model, data, epochs=epochs), "longer": exact.eval()}
    for way, network in ways.items():
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "float.onnx"
            write_onnx(network, torch.zeros(2, data.channels, size, size), path)
            _, metrics = quantise(model, path, data)
        told |= {f"int8 {way}": metrics["int8_test_accuracy"]}
    return {**told, "float longer": metrics["onnx_test_accuracy"]}


def recipe(args: argparse.Namespace) -> dict[str, int]:
    """What is the same for all trainings that are compared."""
    told = {"images": args.train_images, "trained_epochs": args.epochs}
    return told | ({"fine_tuned_epochs": args.fine_tune} if args.fine_tune else {})


def trainings(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The lines of the trainings of this recipe."""
    return [line for line in read(args.lines) if recipe(args).items() <= line.items()]


def train_all(args: argparse.Namespace) -> None:
    """Train what is missing; every row's first seed before any second."""
    data = load_data(images(args.task, args.train_images, args.validation_images), seed=0)
    rows = networks(args)
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


def table(lines: list[dict[str, Any]], rival: str | None) -> list[dict[str, Any]]:
    """A row a network; `p` is Welch's, of the difference to the rival, where there is one."""
    by_row: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_row.setdefault(line["row"], []).append(line)
    told = []
    for row, own in by_row.items():
        shown: dict[str, Any] = {"network": row, "n": len(own)}
        for kind in KINDS:
            if kind not in own[0]:
                continue
            values = [each[kind] for each in own]
            shown[kind] = round(statistics.mean(values), 4)
            shown[f"{kind} spread"] = round(statistics.stdev(values), 4) if len(own) > 1 else None
            if rival is not None and row != rival:
                gap = difference(values, [each[kind] for each in by_row[rival]])
                p = None if math.isnan(gap.p) else float(f"{gap.p:.2g}")
                shown |= {f"{kind} over": round(gap.value, 4), f"{kind} p": p}
        shown |= {name: own[0][name] for name in (*LIMITED, "params")}
        shown["training s"] = round(statistics.mean(each["cpu_seconds"] for each in own), 1)
        told.append(shown)
    return told


def note(args: argparse.Namespace) -> str:
    """What the table tells, in words."""
    told = [f"{args.task.data['source']} at {load_architecture(args.task.rival).resolution} px."]
    if not args.only:
        (found,) = (line for line in read(args.lines) if "found" in line)
        told.append(
            f"Found: a search in the space `{args.task.space}` of {found['trials']} trials of up "
            f"to {args.search_epochs} epochs ({found['epochs']} in all) of at most "
            f"{args.search_images:,} images, chosen on at most {args.validation_images:,}, within "
            + ", ".join(f"{limit:,.0f} of {name}" for name, limit in args.task.limits(1.0).items())
            + " (RAM as int8)."
        )
    told.append(
        f"Trained by the default recipe on at most {args.train_images:,} images for {args.epochs} "
        f"epochs from scratch, tested on all test images: `float` and `int8` are means of `n` "
        f"trainings with new seeds, `spread` their deviation. Training seconds are the processor's."
    )
    if not args.only:
        told.append(f"`over` is the difference to {args.task.rival}, `p` Welch's test of it.")
    if args.fine_tune:
        told.append(
            f"From the same weights {args.fine_tune} epochs more: as int8 (`tuned`), or in float "
            f"(`longer`), and then made int8."
        )
    return " ".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--task", choices=TASKS, default="tiny")
    for part, count in {"search": 5_000, "train": 10_000, "validation": 2_000}.items():
        parser.add_argument(f"--{part}-images", type=int, default=count)
    for name, count in {"trials": 24, "search-epochs": 3, "epochs": 3, "seeds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--only", nargs="+", metavar="NETWORK", help="Named ones, and no search.")
    parser.add_argument("--fine-tune", type=int, default=0, metavar="N", help="Epochs, beside.")
    parser.add_argument("--run", type=Path, help="Of the search.  [default: runs/<results' name>]")
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    parser.add_argument("--table", action="store_true", help="Only of what was done.")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    name = args.task if args.task == "tiny" else f"tiny_{args.task}"
    name += "_int8" if args.only else ""
    args.task, args.lines = TASKS[args.task], args.out / f"{name}.jsonl"
    args.run = args.run or Path("runs") / name
    if not args.table:
        if not args.only:
            find(args)
        train_all(args)
    rival = None if args.only else args.task.rival
    keep(name, table(trainings(args), rival), folder=args.out, note=note(args))


if __name__ == "__main__":
    main()
