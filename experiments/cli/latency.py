"""`scaler latency`, and the options and rows of every measured latency."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from experiments.cli.options import (
    PIXELS,
    SECONDS,
    SEED,
    CheckedCommand,
    counted_for,
    json_option,
    print_json,
    print_table,
    size_options,
)

if TYPE_CHECKING:
    from scaler.latency import Latency
    from scaler.latency_model import Fit, LatencyTable
    from search_spaces.architecture import Architecture

Command = TypeVar("Command", bound=Callable[..., Any])

BUDGET = 5.0  # seconds a network


def latency_options(command: Command) -> Command:
    """The conditions of a measured latency; None where an option is not given."""
    options = [
        click.option("--batch-size", type=int, help="Images a step; 1, or 8 with --training-step."),
        click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"])),
        click.option("--memory-format", type=click.Choice(["contiguous", "channels_last"])),
        click.option("--device", help="cpu, cuda or cuda:N; a GPU where there is one."),
        click.option("--threads", type=int, help="Of torch on a CPU; 1 is steadiest."),
        click.option("--training-step", is_flag=True, default=None, help="Instead of inference."),
        click.option("--compile", "compiled", is_flag=True, default=None, help="torch.compile."),
        click.option("--seconds", type=SECONDS, help=f"At most, a network.  [default: {BUDGET:g}]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def measured_latencies(
    networks: "Sequence[Architecture]",
    *,
    seconds: float | None,
    num_classes: int,
    in_channels: int,
    **conditions: Any,
) -> "list[Latency]":
    """Measure under the options that were given, and say so where a figure stayed uncertain."""
    from scaler.conditions import Conditions
    from scaler.latency import measure_latencies

    given = {name: value for name, value in conditions.items() if value is not None}
    if given.get("training_step"):
        given.setdefault("batch_size", 8)
    asked: Conditions = Conditions.parse(given, source="command line")
    tolerance = 0.02
    measured = measure_latencies(
        networks,
        conditions=asked,
        num_classes=num_classes,
        in_channels=in_channels,
        budget=BUDGET if seconds is None else seconds,
        tolerance=tolerance,
    )
    worst = max(measured, key=lambda latency: latency.uncertainty)
    if worst.uncertainty > tolerance:
        load = "" if worst.load is None else f" at a load of {worst.load:g}"
        steadier = "" if worst.conditions.threads == 1 else ", take --threads 1"
        click.echo(
            f"note: {worst.architecture} is known to {worst.uncertainty:.1%} only after "
            f"{worst.rounds} rounds{load}; raise --seconds{steadier}, or find a quieter hour",
            err=True,
        )
    return measured


def latency_row(latency: "Latency") -> dict[str, Any]:
    """Columns of a table, in milliseconds."""
    return {
        "ms": latency.seconds * 1e3,
        "10 %": latency.low * 1e3,
        "90 %": latency.high * 1e3,
        "quiet": latency.quiet * 1e3,
        "+-": f"{latency.uncertainty:.1%}",
        "runs": latency.runs,
        "images/s": latency.images_per_second,
    }


def latency_data(latency: "Latency") -> dict[str, Any]:
    """A measured latency as JSON data, seconds in plain numbers."""
    data = dict(vars(latency))
    return {**data, "conditions": latency.conditions.model_dump(mode="json")}


def explain_latency(latency: "Latency") -> None:
    """The line under a table: what the figures hold for."""
    versions = ", ".join(
        f"{name} {value}" for name, value in latency.machine.items() if name != "hardware"
    )
    quiet = (
        "the median of the processor's time"
        if latency.conditions.threads == 1
        else f"the least median of {latency.rounds} rounds"
    )
    click.echo(
        f"\n{latency.conditions.describe()}; {latency.machine['hardware']}; {versions}.\n"
        f"ms: median of a step, with its 10th and 90th percentile; quiet: {quiet}, which other "
        f"work on the machine raises least, known to +-."
    )


@click.command("latency", cls=CheckedCommand)
@click.argument("architectures", nargs=-1)
@click.option("--space", help="Take random members of a space (a name or a file) as well.")
@click.option("--members", type=click.IntRange(min=1), default=30, show_default=True)
@click.option(
    "--resolution",
    "resolutions",
    type=PIXELS,
    multiple=True,
    help="In pixels; given several times, the networks take turns.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the random members.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The latency file to write.",
)
@latency_options
@size_options
@json_option
def latency_command(
    architectures: tuple[str, ...],
    space: str | None,
    members: int,
    resolutions: tuple[int, ...],
    seed: int,
    output: Path | None,
    as_json: bool,
    num_classes: int | None,
    in_channels: int | None,
    **options: Any,
) -> None:
    """Measure ARCHITECTURES (names or files) and members of a --space, and fit time to cost.

    The file of -o predicts latency: `scaler cost ARCH --latency-model FILE`, or a search's
    `latency_model`.
    """
    from scaler.cost import measure_cost
    from scaler.latency_model import LatencyTable, check_enough, fits_of

    networks = _networks(architectures, space, members, resolutions, seed)
    sizes = counted_for(architectures, num_classes=num_classes, in_channels=in_channels)
    costs = [measure_cost(network, **sizes) for network in networks]
    check_enough(costs)
    click.echo(f"measuring {len(networks)} networks in turn", err=True)
    measured = measured_latencies(networks, **sizes, **options)
    table = LatencyTable.of(list(zip(measured, costs, strict=True)))
    fits = fits_of(table)
    if output is not None:
        from experiments.config.files import write_text

        write_text(output, table.to_json())
        click.echo(f"wrote {output}; try `scaler cost ARCH --latency-model {output}`", err=True)
    if as_json:
        print_json({**table.model_dump(mode="json"), "fits": [vars(fit) for fit in fits]})
        return
    print_table([_network_row(row) for row in _rows(table)])
    explain_latency(measured[0])
    click.echo("")
    print_table([fit_row(fit) for fit in fits])
    click.echo(
        "\nErrors are relative to the quiet time: of the networks fitted, and of each network "
        "predicted from the others (new)."
    )


def _networks(
    names: tuple[str, ...], space: str | None, members: int, resolutions: tuple[int, ...], seed: int
) -> "list[Architecture]":
    from search_spaces.reference import load_architecture
    from search_spaces.resizing import resize

    networks = [load_architecture(name) for name in names]
    if space is not None:
        from search_spaces.space import load_space

        networks += load_space(space).members(members, seed=seed)
    if not networks:
        raise click.UsageError("Name architectures, or a --space to draw members of.")
    if not resolutions:
        return networks
    turns = (resolutions[i % len(resolutions)] for i in range(len(networks)))
    return [resize(a, resolution=size) for a, size in zip(networks, turns, strict=True)]


def _rows(table: "LatencyTable") -> list[dict[str, Any]]:
    return [row.model_dump() for row in sorted(table.networks, key=lambda row: row.quiet)]


def _network_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "architecture": row["name"],
        "px": row["resolution"],
        "flops": row["flops"],
        "activations": row["activations"],
        "ms": row["seconds"] * 1e3,
        "10 %": row["low"] * 1e3,
        "90 %": row["high"] * 1e3,
        "quiet": row["quiet"] * 1e3,
        "+-": f"{row['uncertainty']:.1%}",
    }


def fit_row(fit: "Fit") -> dict[str, Any]:
    """Coefficients in units that are near 1 on today's machines, and errors."""
    rates = dict(zip(fit.features, fit.coefficients[1:], strict=True))
    return {
        "fitted to": " + ".join(fit.features),
        "fixed, ms": fit.coefficients[0] * 1e3,
        "ms a GFLOP": rates["flops"] * 1e12 if "flops" in rates else None,
        "ms a M activations": rates["activations"] * 1e9 if "activations" in rates else None,
        "median error": f"{fit.median_error:.1%}",
        "max": f"{fit.max_error:.1%}",
        "new: median": f"{fit.new_median_error:.1%}",
        "new: max": f"{fit.new_max_error:.1%}",
    }
