"""`scaler doctor`: what works on this machine, what does not, and the remedy."""

from pathlib import Path

import click

from experiments.cli.options import CheckedCommand, json_option, print_json


@click.command("doctor", cls=CheckedCommand)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where runs are to be written; this folder by default.",
)
@json_option
def doctor_command(folder: Path, as_json: bool) -> int:
    """Try versions, devices, write access, the store and Ray; say what to do where one fails.

    Exit status 0 if all that a run needs works, 1 otherwise.
    """
    from experiments.cli.health import examine

    findings = []
    for finding in examine(folder):
        findings.append(finding)
        if as_json:
            continue
        state = "ok" if finding.works else ("FAILS" if finding.needed else "missing")
        click.echo(f"{state:<8}{finding.name:<16}{finding.found}")
        if not finding.works:
            click.echo(f"{'':<24}-> {finding.remedy}")
    healthy = all(finding.works for finding in findings if finding.needed)
    if as_json:
        print_json({"healthy": healthy, "findings": [vars(finding) for finding in findings]})
    else:
        told = "All that a run needs works." if healthy else "Some of what a run needs fails."
        click.echo(f"\n{told}")
    return 0 if healthy else 1
