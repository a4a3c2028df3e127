"""What the documentation prints is what the commands print."""

from pathlib import Path

from experiments.benchmarks import scaling

DOCS = Path(__file__).parents[1] / "docs"


def test_the_scaling_tables_figures_are_todays():
    assert scaling.text() in (DOCS / "scaling.md").read_text()
