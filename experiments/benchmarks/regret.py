"""Regret on NAS-Bench-Macro: the cost-aware search against the searchers that Optuna and we have.

    python -m experiments.benchmarks.regret

The searches are those that results/macro_runs.jsonl.gz keeps. `macro_runs` makes others, to be
named with `--runs`, and its docstring says how. A rival recommends its best observed network; `with
our model` is what our model, fitted to the rival's trials, recommends instead. Ours is told which
parameters make one network and learns from the network's description; `parameters alone` is ours
without that. The sampler's settings were chosen on seeds from 1,000 on, of this same table; seeds 0
to 99 are shown. Intervals are 95 % bootstrap intervals of the mean. Where a seed was run by ours
and the rival, `ours - rival` is the paired difference.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.trial import create_trial

from experiments.benchmarks import keep
from experiments.benchmarks.macro_runs import (
    CHOICE,
    EXPONENT,
    NAMES,
    TARGET_FLOPS,
    Macro,
    distinct,
    kept,
    network,
)

OURS = "cost_aware"
UNDESCRIBED = "cost_aware, parameters alone"  # it is not told which parameters make one network
MODELLING = (OURS, UNDESCRIBED)
COUNTS = (50, 100, 200)
RUNS = Path(__file__).with_name("results") / "macro_runs.jsonl.gz"
MODELLED = 20  # searches of a rival to whose trials our model is fitted as well

Array = npt.NDArray[np.float64]


def best_observed(macro: Macro, record: dict[str, Any], count: int) -> float:
    """The regret of the network that showed the highest reward."""
    tried = np.array(record["tried"][:count])
    shown = macro.shown(record["seed"]) * macro.factors
    return float(macro.regrets[tried[np.argmax(shown[tried])]])


def by_model(macro: Macro, record: dict[str, Any], count: int) -> float:
    """The regret of the network that our model, fitted to these trials, recommends."""
    from experiments.samplers import recommend

    flops = dict(zip(macro.codes, macro.flops, strict=True))
    rewards = macro.shown(record["seed"]) * macro.factors
    trials = [
        create_trial(
            value=float(rewards[i]),
            params=dict(zip(NAMES, macro.codes[i], strict=True)),
            distributions=dict.fromkeys(NAMES, CHOICE),
            user_attrs={"index": i},
        )
        for i in record["tried"][:count]
    ]
    best = recommend(
        trials,
        cost=lambda params: float(flops[distinct(tuple(params[name] for name in NAMES))]),
        target=TARGET_FLOPS,
        exponent=EXPONENT,
        network=None if record["searcher"] == UNDESCRIBED else network,
    )[0]
    return float(macro.regrets[best.user_attrs["index"]])


def interval(samples: Sequence[float]) -> str:
    """Mean and its 95 % bootstrap interval."""
    values = np.array(samples)
    drawn = np.random.default_rng(0).choice(values, size=(2_000, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def regret_rows(macro: Macro, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a searcher and count; ours first."""
    noisy = [record for record in records if record["noise"]]
    searchers = sorted({r["searcher"] for r in noisy}, key=lambda name: (name != OURS, name))
    rows = []
    for count in COUNTS:
        ours: dict[int, float] = {}
        for name in searchers:
            own = [r for r in noisy if r["searcher"] == name and len(r["tried"]) >= count]
            if not own:
                continue
            fitted = own if name in MODELLING else own[:MODELLED]
            modelled = {r["seed"]: by_model(macro, r, count) for r in fitted}
            observed = {r["seed"]: best_observed(macro, r, count) for r in own}
            if name == OURS:
                ours = modelled
            recommended = modelled if name in MODELLING else observed
            pairs = [ours[s] - recommended[s] for s in recommended if s in ours]
            rows.append(
                {
                    "evaluations": count,
                    "searcher": name,
                    "n": len(own),
                    "recommends": interval(list(recommended.values())),
                    f"with our model (n <= {MODELLED})": interval(list(modelled.values())),
                    "median": round(float(np.median(list(observed.values()))), 3),
                    "ours - rival": interval(pairs) if pairs and name != OURS else "",
                }
            )
    return rows


def exact_rows(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Evaluations until one of the three best, without noise."""
    exact = [record for record in records if not record["noise"]]
    searchers = sorted({r["searcher"] for r in exact}, key=lambda name: (name != OURS, name))
    lengths = {
        name: [float(len(r["tried"])) for r in exact if r["searcher"] == name] for name in searchers
    }
    return [
        {
            "searcher": name,
            "n": len(found),
            "evaluations": interval(found),
            "median": float(np.median(found)),
            "most": max(found),
            "ratio": round(float(np.mean(found) / np.mean(lengths.get(OURS, found))), 2),
        }
        for name, found in lengths.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--runs", type=Path, nargs="+", default=[RUNS])
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    macro = Macro.load(args.data)
    records = [record for path in args.runs for record in kept(path)]
    note = "100 x regret, accuracy * (FLOPs / 57,602,560)^-0.07 on NAS-Bench-Macro, mean [95 %]."
    keep("regret", regret_rows(macro, records), folder=args.out, note=note)
    note = "Evaluations until one of the three best networks, without noise, mean [95 %]."
    keep("regret_exact", exact_rows(records), folder=args.out, note=note)


if __name__ == "__main__":
    main()
