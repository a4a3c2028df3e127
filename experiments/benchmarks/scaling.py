"""B1 to B7 three ways: the formula, the released rows, and what is reached at the same FLOPs.

    python -m experiments.benchmarks.scaling

Exact, the same on every machine; a few seconds.
"""

from typing import Any

from tabulate import tabulate

from scaler import CompoundCoefficients, measure_cost, scale, scale_family, scale_to_flops
from scaler.scaled import Scaled
from search_spaces import load_architecture

# The phi that public tutorials give B1 to B7; the authors published none.
PHIS = (0.5, 1, 2, 3, 4, 5, 6)


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


if __name__ == "__main__":
    print(text())
