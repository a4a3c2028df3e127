"""`scaler export`, `scaler predict`: a network taken elsewhere, and what it tells of images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.options import (
    CHANNELS,
    CLASSES,
    PIXELS,
    SEED,
    CheckedCommand,
    complete_architecture,
    json_option,
    print_json,
    print_table,
    progress_options,
)
from experiments.config.messages import say

if TYPE_CHECKING:
    from experiments.export.model import Model

_SHOWN = 10  # rows of the table; all of them are in the file


@click.command("export", cls=CheckedCommand)
@click.argument("model", metavar="ARCH|CHECKPOINT", shell_complete=complete_architecture)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The folder to write.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    help="Beside the weights: torch (torch.export's .pt2), onnx, pte (ExecuTorch). Repeatable.",
)
@click.option("--int8", "in_int8", is_flag=True, help="With onnx, pte: in int8 too, tested.")
@click.option(
    "--fine-tune",
    type=click.IntRange(min=1),
    help="With --int8: epochs of quantisation-aware training of the int8 file.",
)
@click.option("--data", help="For --int8, where the model's folder does not say it.")
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
    in_int8: bool,
    fine_tune: int | None,
    data: str | None,
    folded: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a folder with the weights of ARCH (a name or a file) or of CHECKPOINT (.safetensors).

    A folder of `scaler train` stands for its best epoch, one of `scaler run` for its baseline.

    It loads with experiments.export.load_exported and with timm; README.md in it is the model
    card. An ARCH is untrained unless --init-from names its weights. --int8 quantises by images of
    the training and measures the metric on its test part, in float and in int8.
    """
    if output is None:
        raise click.UsageError("Give the folder to write, as `-o exported/`.")
    from experiments.export.folder import check_folder, write_exported
    from experiments.export.formats import check_format

    check_folder(output)
    for name in formats:
        check_format(name)
    if in_int8 and not {"onnx", "pte"} & set(formats):
        raise click.UsageError("--int8 goes with --format onnx or pte.")
    if fine_tune is not None and not (in_int8 and "onnx" in formats):
        raise click.UsageError("--fine-tune goes with --format onnx --int8: it trains that file.")
    if data is not None and not in_int8:
        raise click.UsageError("--data goes with --int8: its images give the ranges.")
    exported = _model(model, **options)
    calibration = None
    if in_int8:
        from experiments.export.calibration import calibration_data
        from experiments.export.model import weights_in

        place = Path(model)
        weights = weights_in(place) if place.is_dir() else place
        calibration = calibration_data(weights, exported, data, formats=formats)
    files = write_exported(
        exported,
        output,
        formats=formats,
        folded=folded,
        calibration=calibration,
        fine_tune=fine_tune or 0,
    )
    if as_json:
        print_json({"folder": str(output), "files": [str(file) for file in files]})
        return
    for file in files:
        click.echo(file)
    click.echo(f"\n{exported.architecture.name}: {exported.origin}", err=True)


def _model(name: str, *, architecture: str | None, **options: Any) -> "Model":
    from experiments.export.model import checkpoint_model, untrained_model, weights_in
    from search_spaces.records import choose

    given = {key: value for key, value in options.items() if value is not None}
    path = Path(name)
    if path.suffix == ".safetensors":
        if given:
            option = f"--{next(iter(given)).replace('_', '-').replace('weights', 'init-from')}"
            raise click.UsageError(f"{option} goes with an architecture, but '{name}' is weights.")
        return checkpoint_model(path, architecture=architecture)
    if path.is_dir():
        found = weights_in(path)
        if given:
            option = f"--{next(iter(given)).replace('_', '-').replace('weights', 'init-from')}"
            raise click.UsageError(f"{option} goes with an architecture, but '{name}' is a folder.")
        say(f"{name}: {found}")
        return checkpoint_model(found, architecture=architecture)
    if architecture is not None:
        raise click.UsageError(f"--architecture goes with a checkpoint, but '{name}' is none.")
    if "source" in given:
        choose({"timm": 0, "torchvision": 0}, given["source"], what="source")
        if "source_model" not in given:
            raise click.UsageError("--source goes with --source-model, as resnet50.")
    if "source_model" in given and "weights" not in given:
        raise click.UsageError("--source-model goes with --init-from, a file of weights.")
    return untrained_model(name, **given)


@click.command("predict", cls=CheckedCommand)
@click.argument("network")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("predictions"),
    show_default=True,
    help="The folder to write.",
)
@click.option(
    "--window",
    type=PIXELS,
    help="Side of windows, in pixels of the image. Default: of masks the image's shorter side, of "
    "boxes none: the image is looked at as a whole.",
)
@click.option(
    "--score",
    type=click.FloatRange(0, 1),
    help="The least score of a detector's boxes; default: the best F1 in validation.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@progress_options
def predict_command(
    network: str,
    images: tuple[Path, ...],
    output: Path,
    window: int | None,
    score: float | None,
    device: str,
) -> None:
    """Tell the class of IMAGES (files or folders), that of each pixel, or the boxes, by NETWORK.

    NETWORK is a folder of `scaler train`, `run` or `export`, a checkpoint, or a member's file.

    predictions.csv has a row an image: the class and each class's share of belief, or the share of
    the pixels of each class. A network that scores pixels also writes masks/ and overlays/. Of a
    detector it has a row a box: class, score, and x1, y1, x2, y2 in pixels of the image as viewers
    show it; overlays/ has the boxes drawn.
    """
    from experiments.export.predicting import TABLE, predict

    table = predict(network, images, output=output, window=window, score=score, device=device)
    if len(table):
        shown = table.head(_SHOWN).to_dict("records")
        print_table([{str(k): v for k, v in row.items()} for row in shown])
    more = len(table) - _SHOWN
    beside = ", overlays/ beside it" if "x1" in table else ""
    if "class" not in table:
        beside = ", masks/, overlays/ and classes.csv beside it"
    click.echo(
        (f"\nand {more:,} more" if more > 0 else "") + f"\nWritten: {output / TABLE}{beside}",
        err=True,
    )
