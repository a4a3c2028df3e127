"""`scaler predict`: what a trained network tells of images."""

from pathlib import Path

import click

from experiments.cli.options import PIXELS, CheckedCommand, print_table, progress_options

_SHOWN = 10  # rows of the table; all of them are in the file


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
