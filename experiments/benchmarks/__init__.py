"""Committed measurements: `python -m experiments.benchmarks.<name>` prints and keeps each."""
