"""B1 to B7 three ways: the formula, the released rows, and what is reached at the same FLOPs.

    python -m experiments.benchmarks.scaling
    python -m experiments.benchmarks.scaling --factors [--before CHECKOUT]

Exact, the same on every machine; a few seconds. With `--factors`, how far depth, width and
resolution are off the rule: of every named network at 2.8 times its FLOPs, and of 100 random
members at 1.5 to 20 times theirs. `--before` takes a folder with an earlier version and prints its
figures beside, as `git worktree add CHECKOUT e47bf9e` makes one. A minute or two a version.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from tabulate import tabulate

from scaler import CompoundCoefficients, measure_cost, scale, scale_family, scale_to_flops
from scaler.scaled import Scaled
from search_spaces import Architecture, list_architectures, load_architecture, load_space

# The phi that public tutorials give B1 to B7; the authors published none.
PHIS = (0.5, 1, 2, 3, 4, 5, 6)

RANDOM = 100  # random members in the table of factors
DIMENSIONS = ("depth", "width", "resolution")


def rows() -> list[dict[str, Any]]:
    """A row a member: FLOPs in G (multiply-adds), parameters in M, pixels."""
    b0 = load_architecture("efficientnet_b0")
    rule = CompoundCoefficients()
    table = []
    released = list(scale_family(b0, kind="released"))
    for number, (phi, row) in enumerate(zip(PHIS, released, strict=True), start=1):
        formula = scale(b0, phi=phi, coefficients=rule)
        reached = scale_to_flops(b0, target_flops=row.cost.flops, coefficients=rule)
        cost = measure_cost(formula)
        table.append(
            {
                "": f"B{number}",
                "released: d, w, px": (
                    f"{row.depth:g}, {row.width:g}, {row.architecture.resolution}"
                ),
                "GFLOPs": f"{row.cost.flops / 1e9:.3f}",
                "M params": f"{row.cost.params / 1e6:.2f}",
                "formula: phi, px": f"{phi:g}, {formula.resolution}",
                "GFLOPs ": f"{cost.flops / 1e9:.3f}",
                "M params ": f"{cost.params / 1e6:.2f}",
                "reached: phi, px": f"{reached.phi:.2f}, {reached.architecture.resolution}",
                "GFLOPs  ": f"{reached.cost.flops / 1e9:.3f}",
                "M params  ": f"{reached.cost.params / 1e6:.2f}",
                "off the rule: d, w, r": _off(reached),
            }
        )
    return table


def _off(member: Scaled) -> str:
    rule = (member.depth, member.width, member.resolution)
    pairs = zip(member.reached_factors(), rule, strict=True)
    return ", ".join(f"{reached / asked - 1:+.0%}" for reached, asked in pairs)


def text() -> str:
    return tabulate(rows(), headers="keys", tablefmt="github", disable_numparse=True)


def measured_factors() -> list[dict[str, Any]]:
    """For each network how far each factor is off the rule, as a share; None where none was found.

    Layers are those of stages that can be repeated, widths the mean over stages.
    """
    import optuna

    draw, space = random.Random(0), load_space("mbconv_small")
    options = space.parameters()
    networks = [(load_architecture(name), 2.8) for name in list_architectures()]
    for number in range(RANDOM):
        params = {name: draw.choice(values) for name, values in options.items()}
        member = space.suggest(optuna.trial.FixedTrial(params))
        named = member.replace(name=f"random{number:03d}")
        networks.append((named, 1.5 * (20 / 1.5) ** draw.random()))
    return [_measured(network, ratio) for network, ratio in networks]


def _measured(network: Architecture, ratio: float) -> dict[str, Any]:
    target = ratio * measure_cost(network).flops
    row: dict[str, Any] = {"network": network.name, "ratio": ratio}
    try:
        found = scale_to_flops(network, target_flops=target, coefficients=CompoundCoefficients())
    except ValueError:
        return {**row, "rule": None, "off": None}
    pairs = list(zip(found.architecture.stages, network.stages, strict=True))
    repeated = [(b.layers, s.layers) for b, s in pairs if s.block.fixed_layers is None]
    depth = sum(b for b, _ in repeated) / sum(s for _, s in repeated)
    width = sum(b.channels / s.channels for b, s in pairs) / len(pairs)
    reached = (depth, width, found.architecture.resolution / network.resolution)
    rule = (found.depth, found.width, found.resolution)
    off = [got / asked - 1 for got, asked in zip(reached, rule, strict=True)]
    return {**row, "rule": rule, "off": off}


def factors_text(versions: dict[str, list[dict[str, Any]]]) -> str:
    """How far off the rule: a summary by version, then a row a network."""
    summary = []
    for version, measured in versions.items():
        for group in ("named", "random"):
            rows = [
                row["off"]
                for row in measured
                if row["off"] and row["network"].startswith("random") == (group == "random")
            ]
            for name, values in zip(DIMENSIONS, zip(*rows, strict=True), strict=True):
                sizes = [abs(value) for value in values]
                summary.append(
                    {
                        "version": version,
                        "networks": f"{len(rows)} {group}",
                        "dimension": name,
                        "median off": f"{statistics.median(sizes):.1%}",
                        "worst": f"{max(values, key=abs):+.0%}",
                    }
                )
    table = []
    for rows in zip(*versions.values(), strict=True):
        line: dict[str, Any] = {"network": rows[0]["network"], "FLOPs": f"x{rows[0]['ratio']:.2f}"}
        for version, row in zip(versions, rows, strict=True):
            told = "none" if row["off"] is None else ", ".join(f"{x:+.1%}" for x in row["off"])
            line[f"{version}: d, w, r off the rule"] = told
        table.append(line)
    parts = (tabulate(t, headers="keys", tablefmt="github") for t in (summary, table))
    return "\n\n".join(parts)


def _of_version(folder: Path) -> list[dict[str, Any]]:
    """The figures of another version of the packages, from a process of its own."""
    ran = subprocess.run(
        [sys.executable, __file__, "--json"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: list[dict[str, Any]] = json.loads(ran.stdout)
    return figures


def main() -> None:
    """The table of B1 to B7, or the factors of this version and of one before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factors", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--before", type=Path)
    arguments = parser.parse_args()
    if arguments.json:
        print(json.dumps(measured_factors()))
    elif arguments.factors:
        versions = {} if arguments.before is None else {"before": _of_version(arguments.before)}
        print(factors_text({**versions, "now": measured_factors()}))
    else:
        print(text())


if __name__ == "__main__":
    main()
