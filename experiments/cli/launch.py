"""`scaler search`, `run` and `report`: launch, continue, look back."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from experiments.cli.options import json_option, print_json

if TYPE_CHECKING:
    from experiments.config import SearchConfig

Command = TypeVar("Command", bound=Callable[..., Any])

# option of the command line -> its place in the config
_OVERRIDES = {
    "run": "run",
    "seed": "seed",
    "data": "data.source",
    "workers": "cluster.workers",
    "address": "cluster.address",
    "space": "search.space",
    "resolution": "search.resolution",
    "sampler": "search.sampler",
    "warm_start": "search.warm_start.source",
    "warm_start_mode": "search.warm_start.mode",
    "trials": "search.trials",
    "epochs": "search.epochs",
    "target_flops": "search.target_flops",
    "min_flops": "search.min_flops",
    "max_flops": "search.max_flops",
}


def config_options(command: Command) -> Command:
    """Where a run's config comes from, and what most often differs between runs of one config."""
    options = [
        click.option("--config", help="A shipped config's name or a YAML file."),
        click.option("--run", type=click.Path(path_type=Path), help="The run folder."),
        click.option("--data", help="`digits`, or a folder of class folders."),
        click.option("--seed", type=int),
        click.option("--workers", type=int, help="Trials at a time."),
        click.option("--address", help="A running Ray cluster; without it an embedded Ray."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def configured(*, config: str | None, **options: Any) -> "SearchConfig":
    """The config file's settings with the command line's on top, checked as one."""
    from experiments.config import SearchConfig

    base = SearchConfig.load(config) if config else SearchConfig(name="search")
    data = base.model_dump()
    for option, value in options.items():
        if value is None:
            continue
        *sections, key = _OVERRIDES[option].split(".")
        target = data
        for section in sections:
            target[section] = target[section] or {}  # one that is off is switched on
            target = target[section]
        target[key] = value
    return SearchConfig.parse(data, source=config or "command line")


@click.command("search")
@config_options
@click.option("--space", help="A search space's name or a YAML file.")
@click.option("--resolution", type=int, help="Of the candidates' input, in pixels.")
@click.option("--sampler", help="As tpe, random.")
@click.option(
    "--warm-start",
    type=click.Path(path_type=Path),
    help="A run folder or a CSV whose trials to begin with.",
)
@click.option(
    "--warm-start-mode",
    type=click.Choice(["enqueue", "tell"]),
    help="Train them first (the default), or let the sampler know their accuracies.",
)
@click.option("--trials", type=int, help="In all; a continued run trains what is missing.")
@click.option("--epochs", type=int, help="Of a trial that is not stopped early.")
@click.option("--target-flops", type=float, help="T of ACC * (FLOPS/T)^-0.07.")
@click.option("--min-flops", type=float, help="Candidates below are never trained.")
@click.option("--max-flops", type=float, help="Candidates above are never trained.")
def search_command(**options: Any) -> None:
    """Launch a search, or continue the one in the run folder.

    Either from a config (`--config digits`) or from options (`--space mbconv_small --data digits
    --target-flops 1e6 --trials 30`), which also go on top of a config.
    """
    config = configured(**options)
    from experiments.report.report import write_report
    from experiments.studies.search import search

    result = search(config)
    report = write_report(result.run)
    best = result.run.path / "baseline.yaml"
    click.echo(best)
    click.echo(f"\nLook at it: scaler show {best}\nReport: {report}", err=True)


@click.command("run")
@config_options
@click.option("--trials", type=int, help="Of the search.")
def run_command(**options: Any) -> None:
    """The whole line: search, coefficients, family, report. Continues what was begun."""
    if options["config"] is None:
        raise click.UsageError("Give --config, as `scaler run --config digits`.")
    config = configured(**options)
    from experiments.line import run_line
    from experiments.report.report import result_text

    folder = run_line(config)
    click.echo(result_text(folder))
    click.echo(f"\nReport: {folder.report}")


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def report_command(run: Path, as_json: bool) -> None:
    """Write tables, figures and the HTML page of RUN anew from its store."""
    from experiments.report.report import result_text, write_report
    from experiments.run_folder import RunFolder

    folder = RunFolder.open(run)
    path = write_report(folder)
    if as_json:
        import json

        from experiments.report.trials import load_trials

        trials = json.loads(load_trials(folder.path).to_json(orient="records"))
        print_json({"report": str(path), "trials": trials})
        return
    click.echo(result_text(folder))
    click.echo(f"\nReport: {path}")
