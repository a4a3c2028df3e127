"""What tells a network's time here: FLOPs, activations, or both; a latency table and its fits.

    python -m experiments.benchmarks.latency

Thirty random members of `mbconv` at 64, 96 and 128 px and some named networks, measured in turn
round by round on one thread. About twenty minutes on a busy machine. Writes beside the fits the
latency files themselves, which `scaler cost --latency-model` takes.
"""

import argparse
from pathlib import Path
from statistics import median

from scipy.stats import spearmanr

from experiments.benchmarks import keep
from experiments.config.files import write_text
from scaler.conditions import Conditions
from scaler.cost import measure_cost
from scaler.latency import Latency, measure_latencies
from scaler.latency_model import LatencyTable, fits_of
from search_spaces.architecture import Architecture
from search_spaces.reference import load_architecture
from search_spaces.resizing import resize
from search_spaces.space import load_space

NAMED = (
    "mobilenet_v1",
    "mobilenet_v2",
    "mnasnet_a1",
    "efficientnet_b0",
    "efficientnet_lite0",
    "resnet18",
    "densenet121",
)
RESOLUTIONS = (64, 96, 128)
CONDITIONS = {
    "inference": Conditions(threads=1),
    "inference_batch_8": Conditions(threads=1, batch_size=8),
    "training": Conditions(threads=1, batch_size=4, training_step=True),
}
NOTE = (
    "Time fitted to cost: non-negative least squares of relative errors on a constant and the "
    "features, over {count} networks ({members} random members of mbconv and {named} named ones, "
    "at {sizes} px). Errors are relative to the measured time; new: of each network predicted "
    "from a fit to the others. rank: Spearman's correlation of predicted and measured time. "
    "The machine was shared (load {load}), so that times on the clock are several times those of a "
    "free machine: the figures fitted are the processor's time of a step on one thread, medians "
    "over rounds in which all networks took turns, half of them known to +-{half:.1%}, the least "
    "certain to +-{worst:.1%}; "
    "others' work still slows them, through caches and shared cores."
)


def networks(members: int) -> list[Architecture]:
    listed = [load_architecture(name) for name in NAMED]
    listed += load_space("mbconv").members(members, seed=0)
    turns = (RESOLUTIONS[i % len(RESOLUTIONS)] for i in range(len(listed)))
    return [resize(network, resolution=size) for network, size in zip(listed, turns, strict=True)]


def fit_rows(name: str, table: LatencyTable) -> list[dict[str, object]]:
    measured = [network.quiet for network in table.networks]
    rows: list[dict[str, object]] = []
    for fit in fits_of(table):
        predicted = [fit(network.cost) for network in table.networks]
        rates = dict(zip(fit.features, fit.coefficients[1:], strict=True))
        rows.append(
            {
                "step": name,
                "fitted to": " + ".join(fit.features),
                "fixed, ms": round(fit.coefficients[0] * 1e3, 3),
                "ms a GFLOP": round(rates.get("flops", 0.0) * 1e12, 2),
                "ms a M activations": round(rates.get("activations", 0.0) * 1e9, 3),
                "median error": f"{fit.median_error:.1%}",
                "max": f"{fit.max_error:.1%}",
                "new: median": f"{fit.new_median_error:.1%}",
                "new: max": f"{fit.new_max_error:.1%}",
                "rank": round(float(spearmanr(predicted, measured).statistic), 3),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--members", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=8.0, help="at most, a network and step")
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results"))
    args = parser.parse_args()
    listed = networks(args.members)
    costs = [measure_cost(network) for network in listed]
    rows: list[dict[str, object]] = []
    everything: list[Latency] = []
    for name, conditions in CONDITIONS.items():
        measured = measure_latencies(listed, conditions=conditions, budget=args.seconds)
        everything += measured
        table = LatencyTable.of(list(zip(measured, costs, strict=True)))
        write_text(args.out / f"latency_{name}.json", table.to_json())
        rows += fit_rows(name, table)
    loads = [latency.load for latency in everything if latency.load is not None]
    note = NOTE.format(
        count=len(listed),
        members=args.members,
        named=len(NAMED),
        sizes=", ".join(map(str, RESOLUTIONS)),
        load=f"{min(loads):.0f} to {max(loads):.0f}" if loads else "unknown",
        half=median(latency.uncertainty for latency in everything),
        worst=max(latency.uncertainty for latency in everything),
    )
    keep("latency", rows, folder=args.out, note=note)


if __name__ == "__main__":
    main()
