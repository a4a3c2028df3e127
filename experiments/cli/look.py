"""`scaler list`, `show`, `cost` and `schema`: look at networks, spaces and what a file may say."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.latency import (
    explain_latency,
    latency_data,
    latency_options,
    latency_row,
    measured_latencies,
)
from experiments.cli.options import (
    COUNT,
    PIXELS,
    CheckedCommand,
    complete_architecture,
    counted_for,
    from_run,
    json_option,
    print_json,
    print_table,
    size_options,
)

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture
    from search_spaces.space import SearchSpace

_QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)


@click.command("list", cls=CheckedCommand)
@json_option
def list_command(as_json: bool) -> None:
    """Named architectures and search spaces, shipped configs and recipes, boards."""
    from experiments.config.boards import BOARDS
    from experiments.config.recipe import list_recipes
    from experiments.config.schema import list_configs
    from search_spaces.reference import list_architectures
    from search_spaces.space import list_spaces, load_space

    architectures = list_architectures()
    spaces = [{"space": name, "settings": load_space(name).size()} for name in list_spaces()]
    if as_json:
        shipped = {"configs": list_configs(), "recipes": list_recipes()}
        boards = [{"board": name, **board._asdict()} for name, board in BOARDS.items()]
        print_json({"architectures": architectures, "spaces": spaces, **shipped, "boards": boards})
        return
    click.echo("Architectures (`scaler show NAME` prints the table):")
    click.echo("".join(f"  {name}\n" for name in architectures))
    click.echo(
        "Search spaces (`scaler show NAME` prints choices and costs, `scaler search --space`):"
    )
    for space in spaces:
        click.echo(f"  {space['space']:<24}{space['settings']:.3g} settings")
    click.echo("\nConfigs (`scaler run --config NAME`):\n  " + "\n  ".join(list_configs()))
    click.echo("\nRecipes (`scaler train ARCH --recipe NAME`):\n  " + "\n  ".join(list_recipes()))
    click.echo("\nBoards (`scaler search --board NAME`), KiB of RAM and of flash:")
    for name, board in BOARDS.items():
        click.echo(f"  {name:<24}{board.ram >> 10:>6,}{board.flash >> 10:>8,}   {board.source}")


@click.command("show", cls=CheckedCommand)
@click.argument("architecture", shell_complete=complete_architecture, callback=from_run)
@click.option("--resolution", type=PIXELS, help="Instead of its own, in pixels.")
@click.option(
    "--yaml",
    "yaml_path",
    type=click.Path(path_type=Path, allow_dash=True, dir_okay=False),
    help="Write it as a file to edit; - for standard output.",
)
@click.option("--code", is_flag=True, help="Print it as a PyTorch file that needs torch alone.")
@click.option(
    "--memory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to draw its RAM into, layer by layer: memory.png and memory.svg.",
)
@click.option("--max-ram", type=COUNT, help="With --memory: a limit to draw, as 256KiB.")
@size_options
@json_option
def show_command(
    architecture: str,
    resolution: int | None,
    yaml_path: Path | None,
    code: bool,
    memory: Path | None,
    max_ram: float | None,
    num_classes: int | None,
    in_channels: int | None,
    as_json: bool,
) -> None:
    """The stage table of ARCHITECTURE (a name or a file) and what it costs.

    Of a search space: what it may choose, how many networks it holds, and what they cost.
    """
    from search_spaces.space import is_space, load_space

    if max_ram is not None and memory is None:
        raise click.UsageError("--max-ram is drawn by --memory; name a folder with it.")
    if is_space(architecture):
        given = {"--code": code, "--yaml": yaml_path, "--memory": memory}
        if option := next((name for name, value in given.items() if value), None):
            raise click.UsageError(f"{option} is of a network, but {architecture} is a space.")
        space = load_space(architecture)
        space = space if resolution is None else space.at(resolution)
        sizes = counted_for([architecture], num_classes=num_classes, in_channels=in_channels)
        _show_space(space, sizes, as_json=as_json)
        return
    network = _load(architecture, resolution)
    if yaml_path is not None:
        _write_yaml(network, yaml_path)
        return
    sizes = counted_for([architecture], num_classes=num_classes, in_channels=in_channels)
    if code:
        from experiments.export.code import network_code

        text = network_code(network, **sizes)
        click.echo(text, nl=False)
        return
    if memory is not None:
        _draw_memory(network, memory, max_ram, sizes)
    from scaler.arena import arena_text, measure_arena
    from scaler.stages import stage_rows

    rows = [vars(r) for r in stage_rows(network, **sizes)]
    if as_json:
        arena = measure_arena(network, **sizes)
        shown = {"architecture": network.model_dump(mode="json"), "stages": rows}
        print_json({**shown, "arena": arena and vars(arena)})
        return
    print_table(rows)
    reserved = arena_text(network, **sizes)
    total = {name: sum(row[name] for row in rows) for name in ("flops", "params", "activations")}
    counted = network.counted and f", {network.counted}"
    click.echo(
        f"\n{network.name} at {network.resolution} px, {sizes['num_classes']} classes{counted}: "
        f"{total['flops']:,} FLOPs (multiply-adds), {total['params']:,} parameters, "
        f"{total['activations']:,} activations{_on_a_device(rows)}"
        f"{reserved and f'; {reserved}'}"
    )


def _draw_memory(
    network: "Architecture", folder: Path, limit: float | None, sizes: dict[str, int]
) -> None:
    from experiments.config.files import write_bytes
    from experiments.report.charts.drawing import draw
    from experiments.report.charts.network import memory_chart

    for ending, data in draw(memory_chart(network, limit=limit, **sizes)).items():
        path = folder / f"memory.{ending}"
        write_bytes(path, data)
        click.echo(f"wrote {path}", err=True)


def _on_a_device(rows: list[dict[str, Any]]) -> str:
    """RAM and flash as a sentence goes on; nothing for a head whose maps are not counted."""
    peaks = [row["peak_ram"] for row in rows]
    if None in peaks:
        return ""
    stored = sum(row["flash"] for row in rows)
    return f"; as int8 {max(peaks):,} bytes of RAM at the peak and {stored:,} bytes of flash"


def _show_space(space: "SearchSpace", sizes: dict[str, int], *, as_json: bool) -> None:
    import numpy as np

    from scaler.cost import sampled_costs

    drawn = sampled_costs(space, **sizes)
    costs = []
    for name in ("flops", "params", "activations"):
        values = np.quantile([getattr(cost, name) for _, cost in drawn], _QUANTILES)
        named = zip(_QUANTILES, values, strict=True)
        ends: dict[float, str] = {0: "min", 1: "max"}
        costs.append({"cost": name} | {ends.get(q, f"{q:.0%}"): round(v) for q, v in named})
    pixels = sorted({member.resolution for member, _ in drawn})
    trainings = space.training_size()
    networks = space.size() // trainings
    if as_json:
        held = {"space": space.name, "networks": networks, "trainings": trainings}
        counted = {**sizes, "resolutions": pixels, "drawn": len(drawn)}
        print_json({**held, "parameters": space.parameters(), **counted, "costs": costs})
        return
    print_table(
        [
            {"parameter": name, "choices": ", ".join(str(option) for option in options)}
            for name, options in space.parameters().items()
        ]
    )
    each = f", each with {trainings:,} settings of its training" if trainings > 1 else ""
    click.echo(
        f"\n{space.name}: at most {networks:,} networks{each}.\n"
        f"What {len(drawn)} random ones cost at {' or '.join(map(str, pixels))} px with "
        f"{sizes['num_classes']:,} classes (FLOPs are multiply-adds):\n"
    )
    print_table(costs)
    click.echo("\nWithout a target a search takes the median FLOPs within its limits.")


@click.command("cost", cls=CheckedCommand)
@click.argument(
    "architectures",
    nargs=-1,
    required=True,
    shell_complete=complete_architecture,
    callback=from_run,
)
@click.option("--resolution", type=PIXELS, help="Instead of its own, in pixels.")
@click.option("--by", type=click.Choice(["operator", "stage"]), help="What the cost is made of.")
@click.option("--latency", is_flag=True, help="Measure it on this machine; options below say how.")
@click.option("--latency-model", help="A file of `scaler latency`, to predict latency from cost.")
@latency_options
@size_options
@json_option
def cost_command(
    architectures: tuple[str, ...],
    resolution: int | None,
    by: str | None,
    latency: bool,
    latency_model: str | None,
    num_classes: int | None,
    in_channels: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """FLOPs (multiply-adds), parameters and activations of ARCHITECTURES, side by side."""
    given = [name.replace("_", "-") for name, value in options.items() if value is not None]
    if given and not latency:
        raise click.UsageError(f"--{given[0].replace('compiled', 'compile')} needs --latency.")
    if by and (latency or latency_model):
        raise click.UsageError("--by is of FLOPs, parameters and activations, not of latency.")
    sizes = counted_for(architectures, num_classes=num_classes, in_channels=in_channels)
    networks = [_load(name, resolution) for name in architectures]
    if by:
        _print_parts(networks, by, sizes, as_json=as_json)
        return
    from scaler.cost import device_cost

    costs = [device_cost(network, **sizes) for network in networks]
    rows: list[dict[str, Any]] = [
        {"architecture": network.name, "resolution": network.resolution, **vars(cost)}
        for network, cost in zip(networks, costs, strict=True)
    ]
    if any(network.counted for network in networks):
        rows = [{**row, "at": one.counted} for row, one in zip(rows, networks, strict=True)]
    if latency_model:
        from scaler.latency_model import LatencyModel

        model = LatencyModel.from_file(latency_model)
        click.echo(f"predicted from {model.describe()}", err=True)
        for row, cost in zip(rows, costs, strict=True):
            row.update({"predicted_seconds": model(cost)} if as_json else _predicted(model(cost)))
    measured = measured_latencies(networks, **sizes, **options) if latency else []
    for row, each in zip(rows, measured, strict=False):
        row.update({"latency": latency_data(each)} if as_json else latency_row(each))
    if as_json:
        print_json(rows)
        return
    print_table(rows)
    if measured:
        explain_latency(measured[0])


def _predicted(seconds: float) -> dict[str, float]:
    return {"predicted ms": seconds * 1e3}


def _print_parts(
    networks: "list[Architecture]", by: str, sizes: dict[str, int], *, as_json: bool
) -> None:
    """A row a part; each network's rows add up to its cost, and shares are of its FLOPs."""
    from scaler.breakdown import measure_operators
    from scaler.stages import stage_rows

    rows = []
    for network in networks:
        if by == "stage":
            parts = [vars(row) for row in stage_rows(network, **sizes)]
        else:
            costs = measure_operators(network, **sizes)
            counted = ("flops", "params", "activations")  # bytes belong to layers
            parts = [
                {"operator": name, **{figure: getattr(cost, figure) for figure in counted}}
                for name, cost in costs.items()
            ]
        whole = sum(part["flops"] for part in parts)
        for part in parts:
            share = part["flops"] / whole
            named = {"architecture": network.name, **part}
            rows.append({**named, "flops_share": share if as_json else f"{share:.1%}"})
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


def _load(name: str, resolution: int | None) -> "Architecture":
    from search_spaces.reference import load_architecture
    from search_spaces.resizing import resize

    network = load_architecture(name)
    return network if resolution is None else resize(network, resolution=resolution)


def _write_yaml(network: "Architecture", path: Path) -> None:
    from experiments.config.files import write_text

    if str(path) == "-":
        click.echo(network.to_yaml(), nl=False)
        return
    write_text(path, network.to_yaml())
    click.echo(f"wrote {path}; look at it with `scaler show {path}`", err=True)


@click.command("schema", cls=CheckedCommand)
@click.argument("what", type=click.Choice(["config", "architecture", "space"]), default="config")
def schema_command(what: str) -> None:
    """Print the JSON Schema of a config, an architecture or a search space.

    Write it to a file and name that in the first line of a YAML file:
    `# yaml-language-server: $schema=config.schema.json`.
    """
    from experiments.config.reference import SCHEMAS

    print_json(SCHEMAS[what]())
