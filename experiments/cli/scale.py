"""`scaler scale`: one member by phi or to a budget, or a whole family."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.options import (
    COUNT,
    CheckedCommand,
    board_option,
    complete_architecture,
    counted_for,
    from_run,
    json_option,
    print_json,
    size_options,
    within_board,
)
from experiments.cli.scaled_members import (
    as_data,
    draw_members,
    is_file,
    print_members,
    tell_arenas,
    write_members,
)

if TYPE_CHECKING:
    from scaler.budget import CostName
    from scaler.compound import CompoundCoefficients
    from scaler.scaled import Scaled
    from search_spaces.architecture import Architecture

_FAMILIES = ("phi", "released", "budgets", "dimensions")


@click.command("scale", cls=CheckedCommand)
@click.argument(
    "architectures",
    nargs=-1,
    required=True,
    metavar="ARCHITECTURE...",
    shell_complete=complete_architecture,
    callback=from_run,
)
@click.option("--phi", type=float, help="The compound exponent; 0 is the baseline itself.")
@click.option("--target-flops", type=COUNT, help="A budget in FLOPs, as 4.2e9.")
@click.option("--target-params", type=COUNT, help="A budget in parameters, as 2e7.")
@click.option("--target-activations", type=COUNT, help="A budget in activations.")
@click.option("--target-ram", type=COUNT, help="A budget in bytes of RAM, as int8. As 256KiB.")
@click.option("--target-flash", type=COUNT, help="A budget in bytes of flash, as int8. As 1MiB.")
@click.option("--target-latency", type=float, help="A budget in seconds an image, see below.")
@click.option(
    "--family",
    type=click.Choice(_FAMILIES),
    is_flag=False,
    flag_value="budgets",
    help="All members; `budgets` if none is named. `dimensions` is the papers' Table 3.",
)
@click.option("--resolution", type=click.IntRange(min=1), help="The input side in px, fixed.")
@click.option("--max-resolution", type=click.IntRange(min=1), help="No more px than these.")
@click.option("--max-flops", type=COUNT, help="No more FLOPs than these. Limits alone: see below.")
@click.option("--max-params", type=COUNT, help="No more parameters than these.")
@click.option("--max-activations", type=COUNT, help="No more activations than these.")
@click.option("--max-ram", type=COUNT, help="No more bytes of RAM, as int8. As 256KiB.")
@click.option("--max-flash", type=COUNT, help="No more bytes of flash, as int8. As 1MiB.")
@click.option("--max-latency", type=float, help="With a budget: no more seconds.")
@board_option
@click.option(
    "--latency-model",
    type=click.Path(path_type=Path),
    help="A file of `scaler latency` that predicts seconds; else they are measured here.",
)
@click.option(
    "--coefficients",
    "coefficients_path",
    type=click.Path(path_type=Path),
    help="A coefficients file; without it alpha 1.2, beta 1.1, gamma 1.15.",
)
@click.option("--rule", help="Instead: compound, depth, width, resolution, dwr or dWr.")
@click.option(
    "--rounding",
    default="ceil",
    show_default=True,
    help="Of layers and widths: ceil, as EfficientNet, or nearest, as pycls.",
)
@click.option(
    "--tolerance", type=float, help="Of the budget.  [default: 0.01; 0.05 of a measured latency]"
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder to write the members into, and the family's figure; of one network also a .yaml.",
)
@click.option("--run", type=click.Path(path_type=Path), help="A run whose accuracies to draw.")
@size_options
@json_option
def scale_command(
    architectures: tuple[str, ...],
    phi: float | None,
    family: Any,
    coefficients_path: Path | None,
    rule: str | None,
    rounding: Any,
    tolerance: float | None,
    resolution: int | None,
    max_resolution: int | None,
    latency_model: Path | None,
    output: Path | None,
    run: Path | None,
    num_classes: int | None,
    in_channels: int | None,
    as_json: bool,
    **budgets: Any,
) -> None:
    """Scale ARCHITECTURE (a name or a file) by --phi, to a --target-..., or to a --family.

    With limits alone, as --max-ram 256KiB --max-flash 1MiB --max-flops 15M, it is the largest
    network that keeps them all; which of them binds is said.

    A latency is that of one image on one thread here, or on the GPU where there is one; or what
    --latency-model predicts, for whatever it was measured.
    """
    target, limits = _budget(within_board(budgets))
    timed = "latency" in limits or (target is not None and target[0] == "latency")
    _check_output(output, one=family is None and len(architectures) == 1)
    _check_options(phi=phi, target=target, family=family, limits=limits, run=run)
    if latency_model is not None and not timed:
        raise click.UsageError("--latency-model goes with --target-latency or --max-latency.")
    if tolerance is not None and phi is not None:
        raise click.UsageError("--tolerance is of a budget, and --phi has none; leave one out.")
    if tolerance is None:  # a measured latency is itself known to a few per cent only
        tolerance = 0.05 if timed and latency_model is None else 0.01
    sizes = counted_for(architectures, num_classes=num_classes, in_channels=in_channels)
    options: dict[str, Any] = {
        "coefficients": _coefficients(coefficients_path, rule),
        "rounding": rounding,
        "resolution": resolution,
        "max_resolution": max_resolution,
        **sizes,
    }
    options |= {"tolerance": tolerance} if phi is None else {"phi": phi}
    if limits and target is None:
        options["limits"] = limits
    if target is not None:
        options |= {"cost": target[0], "target": target[1], "limits": limits}
        options["latency"] = _latency(latency_model, **sizes) if timed else None
    members = [member for name in architectures for member in _scaled(name, family, options)]
    if output is not None:
        write_members(members, output, sizes)
        if family is not None:
            draw_members(members, output, run, **sizes)
    if as_json:
        print_json([as_data(member, sizes) for member in members])
    else:
        print_members(members, family=family, written=output is not None)
        tell_arenas(members, limits.get("peak_ram"), sizes)


def _scaled(name: str, family: Any, options: dict[str, Any]) -> "Iterable[Scaled]":
    """The members of one architecture: its family, or one by phi or to a budget."""
    from search_spaces.reference import load_architecture

    baseline = load_architecture(name)
    if family is not None:
        from scaler.family import members_within, scale_family

        found, left_out = members_within(
            scale_family(baseline, kind=family, **options), options.get("limits") or {}
        )
        if left_out:
            click.echo(left_out, err=True)
        return found
    from scaler.scaled import scale_to, scaled_by_phi
    from scaler.within import scale_within

    if "target" not in options and set(options.get("limits", ())) == {"peak_ram"}:
        click.echo(
            "only RAM is limited, and more layers need no more of it: FLOPs and flash may be many "
            "times the baseline's (--max-flops and --max-flash limit them)",
            err=True,
        )
    scaled = scale_within if "target" not in options else scale_to
    return [scaled_by_phi(baseline, **options) if "phi" in options else scaled(baseline, **options)]


def _check_options(
    *, phi: float | None, target: object, family: str | None, limits: object, run: Path | None
) -> None:
    given = sum(option is not None for option in (phi, target, family))
    if given > 1 or not (given or limits):
        raise click.UsageError(
            "Give exactly one of --phi, a budget (--target-flops), --family, and limits alone "
            "(--max-ram)."
        )
    if limits and phi is not None:
        raise click.UsageError(
            "--max-flops, --max-params and their like go with a budget or a family, or stand alone."
        )
    if run is not None and family is None:
        raise click.UsageError("--run goes with --family: it draws a family's accuracies.")


def _budget(
    options: dict[str, float | None],
) -> tuple[tuple["CostName", float] | None, dict["CostName", float]]:
    """The one target, and the limits, from `target_flops`, `max_params`, ..."""
    targets: list[tuple[Any, float]] = []
    limits: dict[Any, float] = {}
    for option, value in options.items():
        kind, named = option.split("_")
        cost = "peak_ram" if named == "ram" else named
        if value is None:
            continue
        if kind == "target":
            targets.append((cost, value))
        else:
            limits[cost] = value
    if len(targets) > 1:
        raise click.UsageError(
            f"Give one target, but got --target-{_option(targets[0][0])} and "
            f"--target-{_option(targets[1][0])}; make one a limit, as "
            f"--max-{_option(targets[1][0])}."
        )
    return (targets[0] if targets else None), limits


def _option(cost: str) -> str:
    """A cost as options name it."""
    return cost.removeprefix("peak_")


def _latency(
    path: Path | None, num_classes: int, in_channels: int
) -> "Callable[[Architecture], float]":
    """Seconds of an architecture: predicted by the model in the file, or measured once each."""
    sizes: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels}
    if path is not None:
        from scaler.cost import measure_cost
        from scaler.latency_model import LatencyModel

        model = LatencyModel.from_file(path)
        click.echo(f"latency predicted from {model.describe()}", err=True)
        return lambda architecture: model(measure_cost(architecture, **sizes))
    from scaler.latency import measure_latency

    measured: dict[str, float] = {}

    def measure(architecture: "Architecture") -> float:
        key = architecture.key
        if key not in measured:
            latency = measure_latency(architecture, threads=1, budget=2.0, **sizes)
            measured[key] = latency.quiet
            click.echo(f"{architecture.resolution} px: {latency.quiet * 1e3:.3g} ms", err=True)
        return measured[key]

    return measure


def _coefficients(path: Path | None, rule: str | None) -> "CompoundCoefficients":
    from scaler.compound import CompoundCoefficients

    if path is not None and rule is not None:
        raise click.UsageError("Give --coefficients or --rule, not both.")
    if path is not None:
        return CompoundCoefficients.from_file(path)
    return CompoundCoefficients.named(rule or "compound")


def _check_output(output: Path | None, *, one: bool) -> None:
    if is_file(output) and not one:
        raise click.UsageError(f"-o {output} is one file, for one network; name a folder.")
