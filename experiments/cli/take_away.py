"""`scaler export`: a network in a folder, to load elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.options import (
    CHANNELS,
    CLASSES,
    SEED,
    CheckedCommand,
    complete_architecture,
    json_option,
    print_json,
)

if TYPE_CHECKING:
    from experiments.export.model import Model


@click.command("export", cls=CheckedCommand)
@click.argument("model", metavar="ARCH|CHECKPOINT", shell_complete=complete_architecture)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The folder to write.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    help="Beside the weights: torch (torch.export's .pt2), onnx. May be given more than once.",
)
@click.option("--fold-batch-norm", "folded", is_flag=True, help="Into convolutions; for inference.")
@click.option("--architecture", help="Of a checkpoint, where it should be another than it says.")
@click.option("--seed", type=SEED, help="Of an untrained network's weights; 0 by default.")
@click.option("--num-classes", type=CLASSES, help="Of an architecture; default 1000.")
@click.option("--in-channels", type=CHANNELS, help="Of an architecture; default 3.")
@click.option(
    "--init-from",
    "weights",
    type=click.Path(path_type=Path),
    help="A weights file of timm's or torchvision's model of the same network.",
)
@click.option("--source", help="Of a safetensors file of weights: timm or torchvision.")
@click.option("--source-model", help="The library's name of the model, as resnet50.")
@json_option
def export_command(
    model: str,
    output: Path | None,
    formats: tuple[str, ...],
    folded: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a folder with the weights of ARCH (a name or a file) or of CHECKPOINT (.safetensors).

    It loads with experiments.export.load_exported and with timm; README.md in it is the model
    card. An ARCH is untrained unless --init-from names its weights.
    """
    if output is None:
        raise click.UsageError("Give the folder to write, as `-o exported/`.")
    from experiments.export.folder import check_folder, write_exported
    from experiments.export.formats import check_format

    check_folder(output)
    for name in formats:
        check_format(name)
    exported = _model(model, **options)
    files = write_exported(exported, output, formats=formats, folded=folded)
    if as_json:
        print_json({"folder": str(output), "files": [str(file) for file in files]})
        return
    for file in files:
        click.echo(file)
    click.echo(f"\n{exported.architecture.name}: {exported.origin}", err=True)


def _model(name: str, *, architecture: str | None, **options: Any) -> "Model":
    from experiments.export.model import checkpoint_model, untrained_model
    from search_spaces.records import InputError, choose

    given = {key: value for key, value in options.items() if value is not None}
    path = Path(name)
    if path.suffix == ".safetensors":
        if given:
            option = f"--{next(iter(given)).replace('_', '-').replace('weights', 'init-from')}"
            raise click.UsageError(f"{option} goes with an architecture, but '{name}' is weights.")
        return checkpoint_model(path, architecture=architecture)
    if path.is_dir():
        found = sorted(path.glob("checkpoints/**/*.safetensors"))
        way = f"name one of its checkpoints, as {found[0]}" if found else "name a checkpoint"
        raise InputError(f"'{name}' is a folder, not an architecture or checkpoint; {way}")
    if architecture is not None:
        raise click.UsageError(f"--architecture goes with a checkpoint, but '{name}' is none.")
    if "source" in given:
        choose({"timm": 0, "torchvision": 0}, given["source"], what="source")
        if "source_model" not in given:
            raise click.UsageError("--source goes with --source-model, as resnet50.")
    if "source_model" in given and "weights" not in given:
        raise click.UsageError("--source-model goes with --init-from, a file of weights.")
    return untrained_model(name, **given)
