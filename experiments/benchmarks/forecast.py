"""How often the forecasts of a family's members hold: small families, trained to the last member.

    python -m experiments.benchmarks.forecast --train digits:0:16 [--runs FILE]
    python -m experiments.benchmarks.forecast

The first trains families and adds a line of JSON a member to the file; the second prints, from the
stored members, how many of those that were held back lie in their 90 % intervals. A family is a
random member of `mbconv_small` at 16 px, of 0.1 to 0.4 M FLOPs, and the same at 2, 4, 8 and 16
its FLOPs up to 2.5 M, each trained once with the family's seed, for 9 epochs.
"""

import argparse
import json
import random
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from experiments.steps.forecast import DEFAULT, Prior, forecast, logit_of, predict_logit

RESULTS = Path(__file__).parent / "results"
RUNS = RESULTS / "forecast.jsonl"
LEAST, MOST = 1e5, 4e5  # FLOPs of a baseline
LARGEST = 2.5e6  # FLOPs of a member: a quarter of a minute on one core
RATIOS = (2, 4, 8, 16)
EPOCHS = 9
RESOLUTION = 16
DATA: dict[str, dict[str, Any]] = {
    "digits": {"source": "digits", "flip": False, "crop_padding": 1},
    "cifar10": {
        "source": "cifar10",
        "image_size": RESOLUTION,
        "train_limit": 1500,
        "validation_limit": 1000,
        "crop_padding": 1,
    },
}


def train_family(data: str, seed: int) -> Iterator[dict[str, Any]]:
    """A row a member: its cost, its curve on the validation part, its accuracy on the test part."""
    from experiments.config.recipe import TrainConfig
    from experiments.config.schema import DataConfig
    from experiments.data.sources import load_data
    from experiments.training.training import Training
    from scaler import CompoundCoefficients, measure_cost, scale_family

    config = DataConfig.parse(DATA[data], source=data)
    images = load_data(config, seed=seed)
    sizes = {"num_classes": images.num_classes, "in_channels": images.channels}
    baseline = _baseline(random.Random(f"{data} {seed}"), sizes)
    flops = measure_cost(baseline, **sizes).flops
    grown = scale_family(
        baseline,
        kind="budgets",
        coefficients=CompoundCoefficients(),
        targets=[ratio * flops for ratio in RATIOS if ratio * flops <= LARGEST],
        tolerance=0.05,
        num_classes=images.num_classes,
        in_channels=images.channels,
    )
    for number, network in enumerate([baseline, *(member.architecture for member in grown)]):
        training = Training(
            architecture=network,
            data=images,
            data_config=config,
            config=TrainConfig(),
            epochs=EPOCHS,
            seed=seed,
        )
        results = list(training.run())
        yield {
            "data": data,
            "seed": seed,
            "member": number,
            "flops": measure_cost(network, **sizes).flops,
            "resolution": network.resolution,
            "curve": [round(result.accuracy, 5) for result in results],
            "train_accuracy": round(results[-1].figures["train_accuracy"], 5),
            "test_accuracy": round(training.test(results[-1].network), 5),
            "test_images": len(images.test),
            "seconds": round(sum(result.seconds for result in results), 1),
        }


def _baseline(draw: random.Random, sizes: dict[str, int]) -> Any:
    """A member of the space of about as many FLOPs as drawn first, evenly on a log scale."""
    import optuna

    from experiments.config.search_section import SearchSection
    from experiments.engine.limits import WithinLimits
    from experiments.engine.pricing import Pricing
    from search_spaces import load_space

    space = load_space("mbconv_small").at(RESOLUTION)
    params = None
    while params is None:  # so few members are as small as some that are asked for
        wanted = LEAST * (MOST / LEAST) ** draw.random()
        section = SearchSection(min_flops=wanted / 1.1, max_flops=wanted * 1.1)
        within = WithinLimits(space, Pricing(section, **sizes), **sizes, seed=draw.randrange(2**31))
        params = within.find(())
    return space.suggest(optuna.trial.FixedTrial(dict(params))).replace(name="b0")


Family = list[dict[str, Any]]


def families(path: Path) -> list[Family]:
    """The stored families of three members or more, by data set; members by FLOPs."""
    found: dict[tuple[str, int], Family] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        found.setdefault((row["data"], row["seed"]), []).append(row)
    return [found[place] for place in sorted(found) if len(found[place]) > 2]


def held_back(family: Family) -> Iterator[tuple[list[tuple[float, float]], dict[str, Any]]]:
    """Each later member, with the FLOPs and test accuracies of the first two."""
    first = [(row["flops"], row["test_accuracy"]) for row in family[:2]]
    for row in family[2:]:
        yield first, row


def fit(known: list[Family]) -> Prior:
    """The prior under which the later members are most probable, given the first two.

    A weak prior of its own (each within a factor of about three) keeps what few families leave
    open from running away.
    """
    import numpy as np
    from scipy.optimize import minimize
    from scipy.stats import norm

    begin = np.array([0.1, np.log(0.1), np.log(0.06), 0.0])

    def badness(at: Any) -> float:
        prior = Prior(at[0], *(float(value) for value in np.exp(at[1:])))
        total = float(((at[1:] - begin[1:]) ** 2).sum() / 2 + (at[0] / 0.5) ** 2 / 2)
        for family in known:
            for first, row in held_back(family):
                images = row["test_images"]
                mean, deviation = predict_logit(first, row["flops"], images=images, prior=prior)
                total -= float(norm.logpdf(logit_of(row["test_accuracy"], images), mean, deviation))
        return total

    best = minimize(badness, begin, method="Nelder-Mead").x
    return Prior(*(round(float(value), 3) for value in (best[0], *np.exp(best[1:]))))


def coverage(known: list[Family], prior_of: Callable[[Family], Prior]) -> list[dict[str, Any]]:
    """A row a data set and one of all: members that were held back, held, and the widths."""
    held: dict[str, list[tuple[bool, float]]] = {}
    for family in known:
        prior = prior_of(family)
        for first, row in held_back(family):
            told = forecast(first, row["flops"], images=row["test_images"], prior=prior)
            held_it = told.low <= row["test_accuracy"] <= told.high
            for name in (row["data"], "all"):
                held.setdefault(name, []).append((held_it, told.high - told.low))
    return [
        {
            "data": name,
            "members held back": len(pairs),
            "inside": f"{sum(inside for inside, _ in pairs) / len(pairs):.0%}",
            "median width": f"{statistics.median(width for _, width in pairs):.3f}",
            "widest": f"{max(width for _, width in pairs):.3f}",
        }
        for name, pairs in sorted(held.items(), reverse=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--train", help="data:first:end, as digits:0:12")
    parser.add_argument("--runs", type=Path, default=RUNS)
    args = parser.parse_args()
    if args.train:
        data, first, end = args.train.split(":")
        for seed in range(int(first), int(end)):
            rows = [json.dumps(row) + "\n" for row in train_family(data, seed)]
            with args.runs.open("a") as file:
                file.writelines(rows)
        return
    from tabulate import tabulate

    known = families(args.runs)
    tuned = fit(known[::2])
    print(f"{len(known)} families; fitted on every other one: {tuned}; in use: {DEFAULT}")
    parts = {
        "the other half, with what was fitted on the first": coverage(known[1::2], lambda _: tuned),
        "each family, with what was fitted on all others": coverage(
            known, lambda one: fit([other for other in known if other is not one])
        ),
        "each family, with what is in use": coverage(known, lambda _: DEFAULT),
    }
    for name, table in parts.items():
        print(f"\n{name}\n\n{tabulate(table, headers='keys', tablefmt='github')}")


if __name__ == "__main__":
    main()
