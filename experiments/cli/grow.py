"""`scaler scale` and `coefficients`: grow a baseline."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.launch import config_options, configured
from experiments.cli.options import json_option, print_json, print_table, size_options

if TYPE_CHECKING:
    from scaler.budget import Scaled


@click.command("scale")
@click.argument("architecture")
@click.option("--phi", type=float, help="The compound exponent; 0 is the baseline itself.")
@click.option("--target-flops", type=float, help="A budget in FLOPs, as 4.2e9.")
@click.option("--family", type=click.Choice(["phi", "released", "budgets"]), help="All members.")
@click.option(
    "--coefficients",
    "coefficients_path",
    type=click.Path(path_type=Path),
    help="A coefficients file; without it alpha 1.2, beta 1.1, gamma 1.15.",
)
@click.option("--tolerance", type=float, default=0.01, show_default=True, help="Of the budget.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder to write the members into."
)
@size_options
@json_option
def scale_command(
    architecture: str,
    phi: float | None,
    target_flops: float | None,
    family: Any,
    coefficients_path: Path | None,
    tolerance: float,
    output: Path | None,
    num_classes: int,
    in_channels: int,
    as_json: bool,
) -> None:
    """Scale ARCHITECTURE (a name or a file) by --phi, to --target-flops, or to a --family."""
    if sum(option is not None for option in (phi, target_flops, family)) != 1:
        raise click.UsageError("Give exactly one of --phi, --target-flops and --family.")
    from scaler.budget import scale_to_flops, scaled_by_phi
    from scaler.compound import CompoundCoefficients
    from scaler.family import scale_family
    from search_spaces.reference import load_architecture

    baseline = load_architecture(architecture)
    rule = CompoundCoefficients()
    if coefficients_path is not None:
        rule = CompoundCoefficients.from_file(coefficients_path)
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    if phi is not None:
        members = [scaled_by_phi(baseline, phi=phi, coefficients=rule, **sizes)]
    elif target_flops is not None:
        members = [
            scale_to_flops(
                baseline,
                target_flops=target_flops,
                coefficients=rule,
                tolerance=tolerance,
                **sizes,
            )
        ]
    else:
        members = list(
            scale_family(
                baseline,
                kind=family,
                coefficients=rule,
                tolerance=tolerance,
                num_classes=num_classes,
                in_channels=in_channels,
            )
        )
    if output is not None:
        _write(members, output)
    if as_json:
        print_json([_as_data(member) for member in members])
    else:
        print_table([_as_row(member) for member in members])
        _explain(written=output is not None)


def _as_row(member: "Scaled") -> dict[str, Any]:
    """Asked against reached: for each dimension the rule's factor and what rounding made of it."""
    depth, width, resolution = member.reached_factors()
    target = member.target_flops
    return {
        "member": member.architecture.name,
        "phi": member.phi,
        "target FLOPs": None if target is None else round(target),
        "FLOPs": member.cost.flops,
        "reached": "-" if target is None else f"{member.cost.flops / target:.2%}",
        "params": member.cost.params,
        "px": member.architecture.resolution,
        "depth": f"{member.depth:.3f} -> {depth:.3f}",
        "width": f"{member.width:.3f} -> {width:.3f}",
        "resolution": f"{member.resolution:.3f} -> {resolution:.3f}",
    }


def _as_data(member: "Scaled") -> dict[str, Any]:
    reached = dict(zip(("depth", "width", "resolution"), member.reached_factors(), strict=True))
    return {
        "name": member.architecture.name,
        "phi": member.phi,
        "target_flops": member.target_flops,
        **vars(member.cost),
        "factors": {
            "depth": member.depth,
            "width": member.width,
            "resolution": member.resolution,
        },
        "reached_factors": reached,
        "architecture": member.architecture.model_dump(mode="json"),
    }


def _explain(*, written: bool) -> None:
    click.echo(
        "\nFLOPs are multiply-adds. depth, width, resolution: the rule's factor -> after rounding "
        "(layers, mean channels, pixels over the baseline's).",
        err=True,
    )
    if not written:
        click.echo("Add `-o FOLDER` to write them as files to train or edit.", err=True)


def _write(members: list["Scaled"], folder: Path) -> None:
    from experiments.files import write_text

    for member in members:
        path = folder / f"{member.architecture.name}.yaml"
        write_text(path, member.architecture.to_yaml())
        click.echo(f"wrote {path}", err=True)


@click.command("coefficients")
@click.argument("architecture")
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
    from experiments.config import CoefficientsSection
    from experiments.report.report import coefficients_text, write_report
    from experiments.studies.coefficients import coefficient_grid, run_coefficients
    from experiments.studies.session import open_session
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
    click.echo(
        f"\nWritten to {path}. Scale with them: scaler scale ARCH --coefficients {path} --phi 1",
        err=True,
    )
