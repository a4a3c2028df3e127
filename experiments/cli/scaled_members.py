"""Scaled networks as `scaler scale` gives them: a table, JSON, files, a figure of the family."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.options import ASSUMED, print_table, tell_counted

if TYPE_CHECKING:
    from scaler.scaled import Scaled


def print_members(members: list["Scaled"], *, family: str | None, written: bool) -> None:
    """One member's figures, or a table of several; how to keep them, where nothing is written."""
    if len(members) == 1:
        tell_counted()
        click.echo(str(members[0]))
    else:
        print_table([_as_row(member, printed=family == "dimensions") for member in members])
        click.echo(
            "\nFLOPs are multiply-adds. depth, width, resolution: the rule's factor -> after "
            "rounding (layers, mean channels, pixels over the baseline's).",
            err=True,
        )
        for member in members:
            if member.note:
                click.echo(member.note, err=True)
    if not written:
        figure = ", and a figure of the family" if family is not None else ""
        click.echo(f"Add `-o FOLDER` to write files to train or edit{figure}.", err=True)


def tell_arenas(members: list["Scaled"], limit: float | None, sizes: dict[str, int]) -> None:
    """What ExecuTorch reserves: for a member alone, and where RAM is limited for each."""
    from scaler.arena import arena_text

    if len(members) > 1 and limit is None:
        return
    for member in members:
        if text := arena_text(member.architecture, limit=limit or math.inf, **sizes):
            click.echo(f"{member.architecture.name}: {text}")


def _as_row(member: "Scaled", *, printed: bool) -> dict[str, Any]:
    """Asked against reached: for each dimension the rule's factor and what rounding made of it."""
    depth, width, resolution = member.reached_factors()
    row: dict[str, Any] = {"member": member.architecture.name}
    if member.phi is not None:
        row["phi"] = member.phi
    if member.target is not None:
        row["target"] = round(member.target)
    row["FLOPs"] = member.cost.flops
    if member.target is not None:
        row["reached"] = f"{member.reached / member.target:.2%}"
    if printed:
        row |= _printed(member)
    return row | {
        "params": member.cost.params,
        "activations": member.cost.activations,
        "px": member.architecture.resolution,
        "depth": f"{member.depth:.3f} -> {depth:.3f}",
        "width": f"{member.width:.3f} -> {width:.3f}",
        "resolution": f"{member.resolution:.3f} -> {resolution:.3f}",
    }


def _printed(member: "Scaled") -> dict[str, Any]:
    """The paper's row of a member of the family `dimensions`, where it prints one."""
    from scaler.family import SINGLE_AND_COMPOUND, PrintedFigures

    dimension = member.architecture.name.removeprefix(f"{member.baseline.name}_")
    row = SINGLE_AND_COMPOUND.get((member.baseline.name, dimension), PrintedFigures(None, None))
    flops = "-" if row.flops is None else f"{row.flops / 1e9:.1f}B"
    return {"paper FLOPs": flops, "paper top-1": "-" if row.top1 is None else f"{row.top1:.1f}"}


def as_data(member: "Scaled", sizes: dict[str, int]) -> dict[str, Any]:
    """A member as `--json` prints it, with its architecture."""
    from scaler.arena import measure_arena

    arena = measure_arena(member.architecture, **sizes)
    reached = dict(zip(("depth", "width", "resolution"), member.reached_factors(), strict=True))
    return {
        "name": member.architecture.name,
        "phi": member.phi,
        "target": member.target,
        "target_cost": member.target_cost,
        "target_flops": member.target_flops,
        **vars(member.cost),
        "arena": None if arena is None else vars(arena),
        "latency": member.latency,
        "limits": dict(member.limits),
        "binding": member.binding,
        "moved": list(member.moved),
        "factors": {
            "depth": member.depth,
            "width": member.width,
            "resolution": member.resolution,
        },
        "reached_factors": reached,
        "architecture": member.architecture.model_dump(mode="json"),
    }


def is_file(output: Path | None) -> bool:
    """Whether one YAML file is to be written, and no folder."""
    return output is not None and output.suffix in (".yaml", ".yml") and not output.is_dir()


def write_members(members: list["Scaled"], output: Path, sizes: dict[str, int]) -> None:
    """A file a member; it states the classes and channels that its cost was counted for."""
    from experiments.config.files import write_text
    from search_spaces.records import dump_yaml

    stated = {} if sizes == ASSUMED else sizes
    for member in members:
        path = output if is_file(output) else output / f"{member.architecture.name}.yaml"
        write_text(path, member.architecture.to_yaml() + (dump_yaml(stated) if stated else ""))
        click.echo(f"wrote {path}", err=True)


def draw_members(members: list["Scaled"], folder: Path, run: Path | None, **sizes: int) -> None:
    """The figure of the family, with the accuracies of a run where one is named."""
    from experiments.config.run_folder import RunFolder
    from experiments.report.scaling_figure import trained_accuracies, write_scaling

    accuracies = {} if run is None else trained_accuracies(run)
    metric = "accuracy" if run is None else RunFolder.open(run).metric
    for path in write_scaling(members, folder, accuracies=accuracies, metric=metric, **sizes):
        click.echo(f"wrote {path}", err=True)
