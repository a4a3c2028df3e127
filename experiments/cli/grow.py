"""`scaler coefficients`: how depth, width and resolution should share a baseline's growth."""

from typing import Any

import click

from experiments.cli.launch import config_options, configured


@click.command("coefficients")
@click.argument("architecture")
@config_options
def coefficients_command(architecture: str, **options: Any) -> None:
    """Grid-search alpha, beta, gamma for ARCHITECTURE by short trainings on the config's data."""
    from experiments.report.report import write_report
    from experiments.studies.coefficients import coefficient_grid, run_coefficients
    from experiments.studies.session import open_session
    from search_spaces.records import InputError
    from search_spaces.reference import load_architecture

    baseline = load_architecture(architecture)
    config = configured(**options)
    coefficient_grid(step=config.coefficients.step, tolerance=config.coefficients.tolerance)
    with open_session(config) as session:
        before = session.folder.baseline()
        if before is not None and before.key != baseline.key:
            raise InputError(
                f"'{session.folder.path}' has another baseline, {before.name}; "
                f"name a new folder with --run"
            )
        session.folder.write_baseline(baseline)
        run_coefficients(session, baseline)
    write_report(session.folder)
    path = session.folder.path / "coefficients.yaml"
    click.echo(path.read_text(), nl=False)
    click.echo(f"\nScale with them: scaler scale ARCH --coefficients {path} --phi 1", err=True)
