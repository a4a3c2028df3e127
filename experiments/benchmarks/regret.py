"""Regret on NAS-Bench-Macro: the cost-aware search against the searchers that Optuna and we have.

    python -m experiments.benchmarks.regret --commit 3950a05

The searches are those that results/macro_runs.jsonl.gz keeps, or those named with `--runs`. A
searcher that takes long may have fewer seeds; differences are of the seeds that both have.
Settings are tuned on any seeds; then `macro_runs` runs a block of 100 seeds that nobody has looked
at, once, and its figures are shown, whatever they are. Looked at so far: 0 to 99, 1,000 to 2,000,
7,000 to 7,049, and 20,000 to 20,099, which the kept searches are.
`by recommend` is what our model, fitted to the searcher's own trials, recommends; of
a rival's first ten searches.
`ours - rival` compares what each would hand over: ours by `recommend`, a rival its best observed;
`observed` compares the best observed of both, paired by seed. Intervals are 95 % bootstrap
intervals of the mean. results/regret_blocks.md keeps the figures of each block that was ever shown.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.trial import create_trial

from experiments.benchmarks import keep
from experiments.benchmarks.parts.macro_runs import (
    CHOICE,
    EXPONENT,
    NAMES,
    TARGET_FLOPS,
    Macro,
    code_of,
    kept,
)

OURS = "cost_aware"
COUNTS = (50, 100)
MODELLED = 10  # searches of a rival that our model is fitted to
RUNS = Path(__file__).with_name("results") / "macro_runs.jsonl.gz"

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
        cost=lambda params: float(flops[code_of(params)]),
        target=TARGET_FLOPS,
        exponent=EXPONENT,
        network=code_of,
    )[0]
    return float(macro.regrets[best.user_attrs["index"]])


def interval(samples: Sequence[float] | Array) -> str:
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
        found = {}
        for name in searchers:
            own = [r for r in noisy if r["searcher"] == name and len(r["tried"]) >= count]
            observed = {r["seed"]: best_observed(macro, r, count) for r in own}
            some = own if name == OURS else own[:MODELLED]
            modelled = {r["seed"]: by_model(macro, r, count) for r in some}
            found[name] = observed, modelled
        for name, (observed, modelled) in found.items():
            rows.append(
                {
                    "evaluations": count,
                    "searcher": name,
                    "n": len(observed),
                    "best observed": interval(list(observed.values())),
                    "by recommend": interval(list(modelled.values())),
                }
                | _paired(found.get(OURS, ({}, {})), observed, rival=name != OURS)
            )
    return rows


def _paired(
    ours: tuple[dict[int, float], dict[int, float]], observed: dict[int, float], *, rival: bool
) -> dict[str, str]:
    """Ours less a rival's best observed: our recommended network, and our best observed."""
    found = {}
    for column, mine in zip(("ours - rival", "observed"), reversed(ours), strict=True):
        pairs = [mine[seed] - observed[seed] for seed in observed if seed in mine]
        found[column] = interval(pairs) if pairs and rival else ""
    return found


def block_rows(
    earlier: list[dict[str, Any]], rows: list[dict[str, Any]], *, seeds: str, commit: str
) -> list[dict[str, Any]]:
    """The history of blocks with our rows of this one; a block is entered once."""
    if any(row["seeds"] == seeds for row in earlier):
        return earlier
    columns = ("evaluations", "n", "best observed", "by recommend")
    block = {"seeds": seeds, "commit": commit, "mode": "as scaler search"}
    ours = [row for row in rows if row["searcher"] == OURS]
    return [*earlier, *(block | {column: row[column] for column in columns} for row in ours)]


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
    parser.add_argument("--commit", required=True, help="whose sampler made the runs")
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    macro = Macro.load(args.data)
    records = [record for path in args.runs for record in kept(path)]
    rows = regret_rows(macro, records)
    own = [r["seed"] for r in records if r["searcher"] == OURS]
    seeds = f"{min(own)} to {max(own)}"
    note = (
        f"100 x regret, accuracy * (FLOPs / 57,602,560)^-0.07 on NAS-Bench-Macro, mean [95 %]; "
        f"seeds {seeds}, sampler of commit {args.commit}."
    )
    keep("regret", rows, folder=args.out, note=note)
    blocks = args.out / "regret_blocks.json"
    earlier = json.loads(blocks.read_text())["rows"] if blocks.is_file() else []
    history = block_rows(earlier, rows, seeds=seeds, commit=args.commit)
    note = "Every block of seeds of which 100 x regret of `cost_aware` was shown, oldest first."
    keep("regret_blocks", history, folder=args.out, note=note)
    if exact := exact_rows(records):
        note = "Evaluations until one of the three best networks, without noise, mean [95 %]."
        keep("regret_exact", exact, folder=args.out, note=note)


if __name__ == "__main__":
    main()
