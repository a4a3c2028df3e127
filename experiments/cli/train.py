"""`scaler train`: train one network fully."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.options import (
    PIXELS,
    SEED,
    CheckedCommand,
    complete_architecture,
    from_run,
    json_option,
    print_json,
    progress_options,
)
from experiments.config.messages import say

if TYPE_CHECKING:
    from experiments.config.schema import SearchConfig

_ON_THE_RECIPE = ("batch_size", "learning_rate", "layer_decay", "device", "gradient_norms")


def _list_recipes(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from experiments.config.recipe import list_recipes

        click.echo("\n".join(list_recipes()))
        context.exit()


@click.command("train", cls=CheckedCommand)
@click.argument(
    "architecture", metavar="ARCH", shell_complete=complete_architecture, callback=from_run
)
@click.option("--config", help="A config or a run folder: data and recipe to begin with.")
@click.option("--data", help="A name as `digits` or `cifar10`, an image folder, or a table.")
@click.option("--download", is_flag=True, help="A data set by name that is not found.")
@click.option("--recipe", help="A shipped recipe's name (--recipes lists them) or a YAML file.")
@click.option(
    "--recipes",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_recipes,
    help="List the shipped recipes, and end.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--batch-size", type=int, help="Instead of the recipe's.")
@click.option("--learning-rate", type=float, help="Instead of the recipe's.")
@click.option("--resolution", type=PIXELS, help="Of the input, in pixels.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--run", type=click.Path(path_type=Path), help="The folder; default runs/train-ARCH.")
@click.option("--init-from", help="Weights to begin with: a training's folder, or a file.")
@click.option("--source", help="Of a safetensors file of weights: timm or torchvision.")
@click.option("--source-model", help="The library's name of the model, as resnet50.")
@click.option(
    "--freeze", "frozen", type=int, help="Keep the stem's and the first so many stages' weights."
)
@click.option("--layer-decay", type=float, help="Of the learning rate, stage by stage downwards.")
@click.option("--gradient-norms/--no-gradient-norms", default=True, help="Record and draw them.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes, through Ray.")
@click.option(
    "--gpus-per-worker",
    type=click.FloatRange(0, 1024),
    help="Without it: one each where there are enough, else none.",
)
@click.option("--cpus-per-worker", type=click.FloatRange(0, 1024, min_open=True), default=1.0)
@click.option("--address", help="A running Ray cluster; without it an embedded Ray.")
@progress_options
@json_option
def train_command(architecture: str, as_json: bool, **options: Any) -> None:
    """Train ARCH (a name or a file) fully, or go on with a training that was stopped.

    Writes curves, the best and the last checkpoint, and pictures of what was learnt. The test part
    is looked at once, at the end, with the weights of the best epoch.
    """
    from experiments.training.members.run import train_member

    request = _request(architecture, **options)
    run = options["run"] or Path("runs") / f"train-{request.architecture.name}"
    elsewhere, threads = None, None
    if options["workers"] > 1 or options["gpus_per_worker"] or options["address"] is not None:
        from experiments.engine.machines.distributed import on_workers

        cpus = options["cpus_per_worker"]
        threads = max(1, int(cpus))
        shares = {"gpus": options["gpus_per_worker"], "cpus": cpus, "address": options["address"]}
        on_cards = request.train.device == "cuda"
        elsewhere = on_workers(options["workers"], **shares, on_cards=on_cards)
    trained = train_member(request, run, threads=threads, elsewhere=elsewhere)
    best = trained.folder.best
    if as_json:
        figures = {"accuracy": trained.accuracy, "test_accuracy": trained.test_accuracy}
        print_json({"checkpoint": str(best), "epoch": trained.epoch, **figures})
        return
    click.echo(best)
    click.echo(
        f"\nBest after epoch {trained.epoch}: validation {trained.metric} {trained.accuracy:.4f}, "
        f"test {trained.metric} {trained.test_accuracy:.4f}\nPictures: {trained.folder.figures}\n"
        f"{_by_class(trained.folder.path)}{_next(best)}",
        err=True,
    )


_WORST = 5  # classes that are printed


def _by_class(folder: Path) -> str:
    """The classes that are told worst, and which are never predicted; empty in an old folder."""
    import pandas as pd

    from experiments.report.cells import plain
    from experiments.training.judging import CLASSES, CONFUSION, never_predicted, worst_classes

    if not (folder / CLASSES).is_file():
        return ""
    table = pd.read_csv(folder / CLASSES, dtype={"class": "string"}).drop(columns="part")
    worst = worst_classes(table, _WORST)
    some = f"The {len(worst)} worst of {len(table)} classes" if len(table) > _WORST else "By class"
    where = f"all of them in {folder / CLASSES}"
    if (folder / CONFUSION).is_file():
        where += f", which are taken for which in {folder / CONFUSION}"
    missed = f"{never_predicted(table)}\n" if never_predicted(table) else ""
    return f"\n{some}, on the test part:\n{plain(worst)}\n{missed}({where})\n\n"


def _next(best: Path) -> str:
    """The commands that use the weights."""
    return f"Try it: scaler predict {best} IMAGES\nTake it away: scaler export {best} -o exported"


def _request(architecture: str, *, config: str | None, recipe: str | None, **options: Any) -> Any:
    from experiments.config.recipe import TrainConfig, load_recipe
    from experiments.config.schema import DataConfig
    from experiments.training.members.folder import TrainRequest
    from search_spaces import load_architecture, resize
    from search_spaces.reference import stated_sizes

    base = _config(config) if config else _config_beside(architecture)
    if base is None and options["data"] is None and stated_sizes(architecture):
        raise click.UsageError(
            f"'{architecture}' was made for a run's images; name them with --data, or the run "
            f"with --config RUN."
        )
    data = base.data if base else DataConfig()
    if options["data"] is not None:
        data = DataConfig.parse({**dict(data), "source": options["data"]}, source="--data")
    if options["download"]:
        data = data.replace(download=True)
    train = base.train if base else TrainConfig()
    if recipe is not None:
        train = load_recipe(recipe)
    changes = {name: options[name] for name in _ON_THE_RECIPE if options[name] is not None}
    train = TrainConfig.parse({**dict(train), **changes}, source="command line")
    epochs = options["epochs"] or train.epochs
    if epochs is None and base is not None and config is None:
        epochs = base.family.epochs
    if epochs is None:
        raise click.UsageError("Give --epochs, or a --recipe that says them.")
    if options["source_model"] is not None and options["init_from"] is None:
        raise click.UsageError("--source-model goes with --init-from, a file of weights.")
    table = load_architecture(architecture)
    if options["resolution"]:
        table = resize(table, resolution=options["resolution"])
    return TrainRequest.parse(
        {
            "architecture": table,
            "data": data,
            "train": train,
            "epochs": epochs,
            "init_from": _weights(options["init_from"]),
            **{k: options[k] for k in ("seed", "source", "source_model", "frozen")},
        },
        source="command line",
    )


def _config(name: str) -> "SearchConfig":
    """A config by name or file, or that of a run folder with what its search chose."""
    from experiments.config.run_folder import RunFolder
    from experiments.config.schema import SearchConfig

    if not (Path(name) / "config.yaml").is_file():
        return SearchConfig.load(name)
    folder = RunFolder.open(name)
    return folder.config.replace(train=folder.config.train.replace(**folder.recipe()))


def _weights(init_from: str | None) -> str | None:
    """A file of weights; of a folder of `scaler train` or `run` its best ones, which is said."""
    if init_from is None or not Path(init_from).is_dir():
        return init_from
    from experiments.export.model import weights_in

    found = weights_in(Path(init_from))
    say(f"{init_from}: {found}")
    return str(found)


def _config_beside(architecture: str) -> "SearchConfig | None":
    """The config of the run whose baseline or member this is; None of any other architecture."""
    path = Path(architecture)
    run = path.parent.parent if path.parent.name == "family" else path.parent
    if path.suffix != ".yaml" or not (run / "config.yaml").is_file():
        return None
    if run == path.parent and path.name != "baseline.yaml":
        return None
    say(f"data and recipe as in {run / 'config.yaml'}; --data and --recipe set others")
    return _config(str(run))
