"""`scaler compare`: networks trained side by side."""

from typing import Any

import click

from experiments.cli.completion import complete_architecture
from experiments.cli.launch import config_options, configured
from experiments.cli.options import CheckedCommand


@click.command("compare", cls=CheckedCommand)
@config_options
@click.argument("architectures", nargs=-1, shell_complete=complete_architecture)
@click.option("--epochs", type=int, help="Of each training.")
@click.option("--seeds", type=int, help="Trainings of each network.")
def compare_command(
    architectures: tuple[str, ...], epochs: int | None, seeds: int | None, **options: Any
) -> None:
    """Train ARCHITECTURES (names or files) side by side with one recipe; draw their curves.

    Those of the config's `comparison.networks`, unless some are named here. Continues what was
    begun.
    """
    config = configured(**options)
    if options["config"] is None:
        config = config.replace(name="comparison")
    from experiments.config.sections import ComparisonSection
    from experiments.engine.session import open_session
    from experiments.report.report import result_text, write_report
    from experiments.steps.comparison import compared_networks, run_comparison

    given: dict[str, Any] = {"epochs": epochs, "seeds": seeds}
    if architectures:
        given["networks"] = {"networks": architectures}
    changes = {name: value for name, value in given.items() if value is not None}
    section = {**config.comparison.model_dump(), **changes}
    config = config.replace(comparison=ComparisonSection.parse(section, source="command line"))
    compared_networks(config.comparison)
    with open_session(config) as session:
        run_comparison(session)
    report = write_report(session.folder)
    click.echo(result_text(session.folder))
    click.echo(f"\nReport: {report}")
