"""What a search is worth for masks and boxes: found networks beside known ones at equal FLOPs.

    SCALER_DATA=... python -m experiments.benchmarks.dense --runs runs

The found network is the baseline of the shipped config (`aerial`, `bccd`): of the run `--runs`/NAME
where it is there, or of its search, which is then done. It is scaled to the budget, as are U-Net
and FCN, or FCOS, on bodies of the literature. All are trained anew by the config's recipe, with the
same epochs and new seeds. Scores are of the test part, which no search has seen. In the kept table
the run of `aerial` was stopped after its confirmation, whose first is the found network.

Each training is one line of `dense.jsonl`, so that a stopped series goes on.
"""

import argparse
import math
import statistics
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.benchmarks import keep
from experiments.benchmarks.parts.worth_searches import Case
from experiments.benchmarks.worth import NEW_SEEDS, trainings
from experiments.config.messages import say
from experiments.config.schema import DataConfig, SearchConfig
from experiments.steps.known import known_at
from experiments.steps.noise import difference
from experiments.steps.search import search
from experiments.training.training import Training
from scaler.cost import measure_cost
from search_spaces.architecture import Architecture
from search_spaces.heads import FCNHead, FPNHead, Points, UNetHead
from search_spaces.records import InputError
from search_spaces.reference import load_architecture
from search_spaces.reference.segmentation import DECODER

FOUND = "found"
BODIES = {
    "aerial": ("mobilenet_v2", "efficientnet_b0", "resnet18"),
    "bccd": ("mobilenet_v2", "resnet18"),
}
HEADS: dict[str, dict[str, Any]] = {  # config -> heads of the literature, before they are scaled
    "aerial": {
        "U-Net": UNetHead(kind="unet", widths=DECODER),
        "FCN-8s": FCNHead(kind="fcn", widths=(512,), skips=3),
    },
    "bccd": {"FCOS": FPNHead(kind="fpn", levels=(8, 16, 32), predictor=Points(kind="points"))},
}


class DenseCase(Case):
    """A shipped config's data and recipe at one budget."""

    @cached_property
    def config(self) -> SearchConfig:
        """The config, with its run folder under `--runs`."""
        return SearchConfig.load(self.data).replace(run=self.args.runs / self.data)

    @property
    def data_config(self) -> DataConfig:
        """The config's."""
        return self.config.data


def baseline(case: DenseCase) -> Architecture:
    """What the config's run found; where there is no run, its search is done."""
    found = case.config.run_folder / "baseline.yaml"
    return load_architecture(found) if found.is_file() else search(case.config).best


def networks(case: DenseCase) -> Iterator[tuple[str, Architecture]]:
    """Row and network of all that are trained, each at the budget."""
    like = baseline(case)
    known = {FOUND: like} | {
        f"{title} on {body}": load_architecture(body).replace(head=head)
        for title, head in HEADS[case.data].items()
        for body in BODIES[case.data]
    }
    for row, network in known.items():
        try:
            yield row, known_at(network, target=case.flops, cost="flops", like=like, **case.sizes)
        except InputError as error:
            say(f"{row} is left out: {error}")


def train_all(case: DenseCase) -> None:
    """Train what is missing; every row's first seed before any second."""
    rows = list(networks(case))
    done = {(line["row"], line["seed"]) for line in case.lines()}
    for seed in range(case.args.seeds):
        for row, network in rows:
            if (row, seed) not in done:
                train(case, row, network, seed)


def train(case: DenseCase, row: str, network: Architecture, seed: int) -> None:
    """One training with a new seed; seconds are the processor's, as the machine has other work."""
    training = Training(
        architecture=network,
        data=case.images,
        data_config=case.data_config,
        config=case.config.train,
        epochs=case.args.epochs,
        seed=NEW_SEEDS + seed,
    )
    began = time.process_time()
    *_, last = training.run()
    took = time.process_time() - began
    cost = measure_cost(network, **case.sizes)
    case.write(
        kind="training",
        row=row,
        seed=seed,
        metric=training.metric.label,
        test=round(training.test(last.network), 4),
        validation=round(last.accuracy, 4),
        network_flops=cost.flops,
        params=cost.params,
        cpu_seconds=round(took, 1),
    )


def table(case: DenseCase) -> list[dict[str, Any]]:
    """A row a network, the best by mean first; gap and `p` are of the found one over each other."""
    trained = trainings(case)
    tests = {row: [line["test"] for line in own] for row, own in trained.items()}
    rows = []
    for row, own in trained.items():
        values, beside = tests[row], tests.get(FOUND, [])
        gap = difference(beside, values) if row != FOUND and beside else None
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
        rows.append(
            {
                "data": case.data,
                "network": row,
                "n": len(own),
                "metric": own[0]["metric"],
                "test": round(statistics.mean(values), 4),
                "standard error": None if error is None else round(error, 4),
                "found is ahead by": None if gap is None else round(gap.value, 4),
                "p": None if gap is None else float(f"{gap.p:.2g}"),
                "MFLOPs": round(own[0]["network_flops"] / 1e6, 1),
                "params": own[0]["params"],
                "training s": round(statistics.mean(line["cpu_seconds"] for line in own), 1),
            }
        )
    return sorted(rows, key=lambda each: -float(each["test"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--configs", nargs="+", choices=sorted(HEADS), default=sorted(HEADS))
    parser.add_argument("--flops", type=float, default=6e7)
    for name, count in {"epochs": 5, "seeds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    parser.add_argument("--table", action="store_true", help="Only of what was done.")
    args = parser.parse_args()
    args.lines = args.out / "dense.jsonl"
    args.out.mkdir(parents=True, exist_ok=True)
    cases = [DenseCase(config, args.flops, args) for config in args.configs]
    for case in cases if not args.table else []:
        train_all(case)
    keep(
        "dense",
        [row for case in cases for row in table(case)],
        folder=args.out,
        note=(
            f"Networks at {args.flops / 1e6:g} MFLOPs, trained from scratch by the recipe of their "
            f"config, {args.epochs} epochs, new seeds. `{FOUND}` is the config's baseline, scaled "
            f"to the budget like the others. `test` is the mean of `n` trainings, on the test part "
            f"after the last epoch, `standard error` that of the mean; `p` is Welch's test of "
            f"`{FOUND}` against the row. `training s` is the processor's, one thread."
        ),
    )


if __name__ == "__main__":
    main()
