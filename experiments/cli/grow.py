"""`scaler coefficients`: how depth, width and resolution should share a baseline's growth."""

from typing import Any

import click

from experiments.cli.completion import complete_architecture
from experiments.cli.launch import config_options, configured
from experiments.cli.options import CheckedCommand
from experiments.config.messages import say


@click.command("coefficients", cls=CheckedCommand)
@click.argument("architecture", shell_complete=complete_architecture)
@config_options
@click.option(
    "--rule",
    type=click.Choice(["equal_flops", "phi"]),
    help="Compare at equal measured FLOPs (the default), or as the paper at one phi.",
)
@click.option("--step", type=float, help="Of the grid of alpha, beta, gamma, each from 1.")
@click.option("--tolerance", type=float, help="How far alpha * beta^2 * gamma^2 may be from 2.")
@click.option("--target-ratio", type=float, help="FLOPs of all candidates over ARCHITECTURE's.")
@click.option("--flops-tolerance", type=float, help="Of these FLOPs, as 0.01.")
@click.option("--phi", type=float, help="Of --rule phi.")
@click.option("--epochs", type=int, help="Of each training.")
@click.option("--leaders", type=int, help="Of the first trainings, trained again with new seeds.")
@click.option("--seeds", type=int, help="New seeds of each leader.")
def coefficients_command(architecture: str, **options: Any) -> None:
    """Find alpha, beta, gamma for ARCHITECTURE by short trainings on the config's data.

    Every direction with alpha * beta^2 * gamma^2 near 2 is scaled to the same measured FLOPs and
    trained; the leaders again with new seeds. Prints them ranked.
    """
    from experiments.config.sections import CoefficientsSection
    from experiments.engine.session import open_session
    from experiments.report.report import coefficients_text, write_report
    from experiments.steps.coefficients import coefficient_grid, run_coefficients
    from search_spaces.records import InputError
    from search_spaces.reference import load_architecture

    baseline = load_architecture(architecture)
    given = {name: options.pop(name) for name in CoefficientsSection.model_fields}
    config = configured(**options)
    changes = {name: value for name, value in given.items() if value is not None}
    section = {**config.coefficients.model_dump(), **changes}
    config = config.replace(
        coefficients=CoefficientsSection.parse(section, source="command line: coefficients")
    )
    coefficient_grid(step=config.coefficients.step, tolerance=config.coefficients.tolerance)
    with open_session(config) as session:
        before = session.folder.baseline()
        if before is not None and before.key != baseline.key:
            raise InputError(
                f"'{session.folder.path}' has another baseline, {before.name}; "
                f"name a new folder with --run"
            )
        session.folder.write_baseline(baseline, recipe=session.folder.recipe())
        run_coefficients(session, baseline)
    write_report(session.folder)
    path = session.folder.path / "coefficients.yaml"
    click.echo(coefficients_text(session.folder))
    say(f"Written to {path}. Scale with them: scaler scale ARCH --coefficients {path} --phi 1")
