"""Committed measurements: `python -m experiments.benchmarks.<name>` prints and keeps each.

May import everything. Read `record` first (how a figure is kept in `results/`).
"""
