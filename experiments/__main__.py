"""`python -m experiments` is the `scaler` command."""

from experiments.cli import main

main()
