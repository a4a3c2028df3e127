"""What a search is worth: networks that it found, beside known ones scaled to the same FLOPs.

    SCALER_DATA=... python -m experiments.benchmarks.worth --data cifar10 clothing --flops 5e6

The searches are `scaler search` with its confirmation off, one worker: `cost_aware` by the formula,
`cost_aware` with `at: budget`, and `random` with `at: budget`, each with the same trials and early
stopping. What they name as the baseline is then trained anew, beside the known networks, by the
same recipe, epochs and new seeds. Accuracies are of test images, which no search has seen.

Each search and each training is one line of `worth.jsonl`, so that a stopped series goes on.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import keep
from experiments.benchmarks.parts.worth_searches import (
    DATA,
    KNOWN,
    RANDOM,
    RESOLUTION,
    Case,
    networks,
    random_members,
    run_searches,
)
from experiments.config.recipe import TrainConfig
from experiments.report.charts.chart import Axis, Chart, Figure, Marks
from experiments.report.charts.drawing import draw
from experiments.steps.known import known_at
from experiments.steps.noise import difference
from experiments.training.judging import evaluate
from experiments.training.training import Training
from scaler.conditions import Conditions
from scaler.cost import measure_cost
from scaler.latency import measure_latencies
from search_spaces.architecture import Architecture

FAST = "cifar_resnet20"
AS_SLOW = f"{FAST}, as slow as found"
NEW_SEEDS = 1_000_000  # as the confirmation's: no search has trained with them


def train_all(case: Case) -> None:
    """Train what is missing; every row's first seed before any second."""
    rows = list(networks(case, run_searches(case)))
    done = {(line["row"], line["seed"]) for line in case.lines() if line["kind"] == "training"}
    pairs = [(row, network, seed) for seed in range(case.args.seeds) for row, network in rows]
    pairs += [(row, network, 0) for row, network in random_members(case)]
    for row, network, seed in pairs:
        if (row, seed) not in done:
            train(case, row, network, seed)
    for row, network in rows:
        time_one(case, row, network)
    train_as_slow(case, rows[0][1])


def time_one(case: Case, row: str, network: Architecture) -> None:
    """Measure a latency that is not known yet."""
    if row not in milliseconds(case):
        (latency,) = measure_latencies(
            [network], conditions=Conditions(threads=1), **case.sizes, budget=3.0
        )
        case.write(kind="latency", row=row, milliseconds=round(latency.quiet * 1e3, 3))


def milliseconds(case: Case) -> dict[str, float]:
    """The measured latencies, by row."""
    lines = (line for line in case.lines() if line["kind"] == "latency")
    return {line["row"]: line["milliseconds"] for line in lines}


def train_as_slow(case: Case, like: Architecture) -> None:
    """The fastest known network, grown until it is as slow as what was found at the budget."""
    known = milliseconds(case)
    flops = case.flops * known["cost_aware, at budget"] / known[FAST]
    network = known_at(FAST, target=flops, cost="flops", like=like, **case.sizes)
    done = {line["seed"] for line in case.lines() if line["row"] == AS_SLOW and "seed" in line}
    for seed in range(case.args.seeds):
        if seed not in done:
            train(case, AS_SLOW, network, seed)
    time_one(case, AS_SLOW, network)


def train(case: Case, row: str, network: Architecture, seed: int) -> None:
    """One training with a new seed; seconds are the processor's, as the machine has other work."""
    training = Training(
        architecture=network,
        data=case.images,
        data_config=case.data_config,
        config=TrainConfig(),
        epochs=case.args.epochs,
        seed=NEW_SEEDS + seed,
    )
    began = time.process_time()
    *_, last = training.run()
    took = time.process_time() - began
    chosen = np.random.default_rng(0).permutation(len(case.images.test))[: case.args.test_images]
    tested = case.images.test.take(np.sort(chosen))
    cost = measure_cost(network, **case.sizes)
    case.write(
        kind="training",
        row=row,
        seed=seed,
        test=round(evaluate(last.network, tested, data=case.images, resolution=RESOLUTION), 4),
        validation=round(last.accuracy, 4),
        network_flops=cost.flops,
        params=cost.params,
        cpu_seconds=round(took, 1),
    )


def trainings(case: Case) -> dict[str, list[dict[str, Any]]]:
    """The lines of the trainings, by row."""
    trained: dict[str, list[dict[str, Any]]] = {}
    for line in case.lines():
        if line["kind"] == "training":
            trained.setdefault(line["row"], []).append(line)
    return trained


def table(case: Case) -> list[dict[str, Any]]:
    """A row a network, the best by mean first; `p` is of its difference to the best known one."""
    trained, timed = trainings(case), milliseconds(case)
    about = {"data": case.data, "budget": f"{case.flops / 1e6:g} M"}
    tests = {row: [line["test"] for line in own] for row, own in trained.items()}
    known = [row for row in tests if row in KNOWN]
    best_known = max(known, key=lambda row: statistics.mean(tests[row]), default=None)
    rows = []
    for row, own in trained.items():
        if row.startswith(RANDOM):
            continue
        against = row not in [*KNOWN, AS_SLOW] and best_known is not None
        gap = difference(tests[row], tests[best_known]) if against and best_known else None
        rows.append(
            {
                **about,
                "network": row,
                "n": len(own),
                "test": round(statistics.mean(tests[row]), 4),
                "spread": round(statistics.stdev(tests[row]), 4) if len(own) > 1 else None,
                "over the best known": None if gap is None else round(gap.value, 4),
                "p": None if gap is None else float(f"{gap.p:.2g}"),
                "MFLOPs": round(own[0]["network_flops"] / 1e6, 2),
                "params": own[0]["params"],
                "latency ms": timed.get(row),
                "training s": round(statistics.mean(line["cpu_seconds"] for line in own), 1),
            }
        )
    rows.sort(key=lambda each: -float(each["test"]))
    members = [values[0] for row, values in tests.items() if row.startswith(RANDOM)]
    if members:
        rows.append(
            {
                **about,
                "network": "the median random member, scaled",
                "n": len(members),
                "test": round(statistics.median(members), 4),
                "spread": round(statistics.pstdev(members), 4),
            }
        )
    return rows


def figure(cases: list[Case]) -> Figure:
    """A panel a case: each training a dot, the best mean on top."""
    panels = []
    for case in cases:
        rows = [row for row in table(case) if row.get("MFLOPs")][::-1]
        own = trainings(case)
        dots = [(line["test"], y) for y, row in enumerate(rows) for line in own[row["network"]]]
        means = [row["test"] for row in rows]
        marks = (
            Marks("dots", [x for x, _ in dots], [y for _, y in dots], "a training", "blue"),
            Marks("dots", means, range(len(rows)), "mean", "orange", "diamond", size=11),
        )
        names = [f"{row['network']} ({row['MFLOPs']:g} M)" for row in rows]
        places = tuple((float(y), name) for y, name in enumerate(names))
        down = Axis(limits=(-0.6, len(rows) - 0.4), ticks=places)
        panels.append(Chart(case.name, Axis("test accuracy", format=".0%"), down, marks))
    return Figure(tuple(panels), alt="Test accuracies of found and known networks.", caption="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", nargs="+", choices=sorted(DATA), default=["cifar10", "clothing"])
    parser.add_argument("--flops", nargs="+", type=float, default=[5e6])
    for part, count in {"train": 1_200, "validation": 600, "test": 2_000}.items():
        parser.add_argument(f"--{part}-images", type=int, default=count)
    for name, count in {"epochs": 6, "trials": 20, "seeds": 3, "members": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    results = "experiments/benchmarks/results"
    for name, path in {"runs": "runs", "out": results, "figure": "docs/images/worth.png"}.items():
        parser.add_argument(f"--{name}", type=Path, default=Path(path))
    parser.add_argument("--table", action="store_true", help="Only of what was done.")
    args = parser.parse_args()
    args.lines = args.out / "worth.jsonl"
    args.out.mkdir(parents=True, exist_ok=True)
    cases = [Case(data, flops, args) for data in args.data for flops in args.flops]
    for case in cases if not args.table else []:
        train_all(case)
    rows = [row for case in cases for row in table(case)]
    args.figure.write_bytes(draw(figure(cases))["png"])
    searches = "; ".join(
        f"{case.name}, {line['row']}: {line['trials']} trials, {line['epochs']} epochs"
        for case in cases
        for line in case.lines()
        if line["kind"] == "search"
    )
    keep(
        "worth",
        rows,
        folder=args.out,
        note=(
            f"Trained on {args.train_images:,} images at {RESOLUTION} px for {args.epochs} epochs "
            f"from scratch, chosen on at most {args.validation_images:,}, tested on at most "
            f"{args.test_images:,}; the searches had at most {args.trials} trials of up to "
            f"{args.epochs} epochs in `mbconv_small` ({searches}). `test` is the mean of `n` "
            f"trainings with new seeds, `spread` their deviation; `p` is Welch's test against the "
            f"best known network. The random members have one training each. Latency is one image "
            f"on one thread, training seconds are the processor's."
        ),
    )


if __name__ == "__main__":
    main()
