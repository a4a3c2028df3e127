"""`scaler search`, `run` and `report`: launch, continue, look back."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.configured import (
    UNNAMED,
    ConfiguredCommand,
    config_options,
    configured,
    named_after,
)
from experiments.cli.options import (
    COUNT,
    PIXELS,
    CheckedCommand,
    board_option,
    json_option,
    print_json,
)
from experiments.config.messages import say

if TYPE_CHECKING:
    from experiments.config.schema import SearchConfig


@click.command("search", cls=ConfiguredCommand)
@config_options
@click.option("--space", help="A search space's name or a YAML file.")
@click.option("--resolution", type=PIXELS, help="Of the candidates' input, in pixels.")
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
@click.option(
    "--target-flops",
    type=COUNT,
    multiple=True,
    help="Short for --cost flops --target. More than once: a network for each of these budgets.",
)
@click.option(
    "--front",
    is_flag=True,
    default=None,
    help="A network for each of three budgets: the quartiles of the space's FLOPs.",
)
@click.option(
    "--cost",
    type=click.Choice(["flops", "params", "activations", "peak_ram", "flash", "latency"]),
    help="Of the objective ACC * (COST/T)^w.",
)
@click.option(
    "--target",
    type=COUNT,
    multiple=True,
    help="T, in the cost's unit; else the space's median FLOPs. May be given more than once.",
)
@click.option("--exponent", type=float, help="w; else -0.07, with several targets 0.")
@click.option(
    "--at",
    type=click.Choice(["formula", "budget"]),
    help="Compare networks at their own cost by the formula, or each scaled to the target.",
)
@click.option(
    "--early-stopping",
    type=click.Choice(["model", "asha", "hyperband", "median", "none"]),
    help="Which rule stops weak trials.",
)
@click.option(
    "--latency-model",
    type=click.Path(path_type=Path),
    help="A file of `scaler latency` that predicts; without it latency is measured here.",
)
@click.option("--min-flops", type=COUNT, help="Candidates below are never trained.")
@click.option("--max-flops", type=COUNT, help="Candidates above are never trained. As `15M`.")
@click.option("--max-params", type=COUNT, help="Likewise of parameters.")
@click.option("--max-activations", type=COUNT, help="Likewise of activations.")
@click.option("--max-ram", type=COUNT, help="Likewise of bytes of RAM, as int8. As `256KiB`.")
@click.option("--max-flash", type=COUNT, help="Likewise of bytes of flash, as int8.")
@board_option
@click.option("--max-latency", type=float, help="Likewise of latency, in seconds.")
@click.option(
    "--time",
    "time_text",
    metavar="TIME",
    help="As `2h` or `90m`: as many trials as fit with the confirmation, by a measured epoch.",
)
@click.option("--dry-run", is_flag=True, help="Print data, networks, budget and time, and end.")
def search_command(time_text: str | None, dry_run: bool, **options: Any) -> None:
    """Launch a search, or continue the one in the run folder.

    Either from a config (`--config digits`) or from options (`--space mbconv_small --data digits
    --target-flops 1e6 --trials 30`), which also go on top of a config.
    """
    seconds = None if time_text is None else _seconds(time_text, trials=options["trials"])
    config, sides = configured(**options), tuple[int, ...]()
    if options["config"] is None:
        config, sides = _by_data(config, options)
    if seconds is not None or dry_run:
        free = options["config"] is None and options["epochs"] is None
        config = _planned(config, seconds, sides, free_epochs=free)
    if dry_run:
        fits = "" if seconds is not None else "; `--time 2h` fits all of it into a time"
        say(f"nothing was written; the same command without --dry-run begins{fits}")
        return
    from experiments.report.report import outcome_of, write_report
    from experiments.steps.search import search

    result = search(config)
    report = write_report(result.run)
    best = result.run.path / "baseline.yaml"
    click.echo(best)
    say(f"Look at it: scaler show {best}")
    say(f"Report: {report}")
    for sentence in outcome_of(result.run):
        say(sentence)
    say(f"Train it fully: scaler train {result.run.path} --epochs 100")


def _by_data(
    config: "SearchConfig", options: dict[str, Any]
) -> tuple["SearchConfig", tuple[int, ...]]:
    """Without a config file: the name, and the settings that nobody gave, follow from the data.

    Also the smaller resolutions that a short time may choose, where nobody gave one.
    """
    from experiments.steps.by_data import SMALLER, settings_by_data

    name = named_after(options["data"]) if config.name == UNNAMED else config.name
    usual = settings_by_data(config.replace(name=name))
    found = configured(**options, usual=usual).replace(name=name)
    side = usual.get("search.resolution")  # None: the space's own, which a run keeps
    free = side is not None and found.search.resolution == side
    return found, SMALLER if free and config.search.resolution is None else ()


def _seconds(time_text: str, *, trials: int | None) -> float:
    """What --time says; it goes without --trials."""
    from experiments.config.units import seconds_of

    seconds = seconds_of(time_text)
    if seconds is None:
        raise click.UsageError(f"--time takes a time as `2h`, `90m` or `45s`, not '{time_text}'.")
    if trials is not None:
        raise click.UsageError("--time chooses the number of trials; leave --trials out.")
    return seconds


def _planned(
    config: "SearchConfig",
    seconds: float | None,
    sides: tuple[int, ...],
    *,
    free_epochs: bool,
) -> "SearchConfig":
    """The config with the trials that fit into the time, at one of `sides` if need be.

    If need be and `free_epochs`, with fewer epochs each. The plan is said. A run that was begun
    keeps its trials and their epochs, so that the same command goes on with it.
    """
    from experiments.engine.begun import begun_with
    from experiments.steps.plan import (
        plan_search,
        side_within,
        tell_plan,
        with_fewer_epochs,
        within,
    )

    if seconds is not None and (before := begun_with(config)) is not None:
        trials = before.search.trials
        epochs = before.search.epochs if free_epochs else config.search.epochs
        say(f"{config.run_folder} was begun with {trials} trials, and goes on to them")
        return config.replace(search=config.search.replace(trials=trials, epochs=epochs))
    plan = plan_search(config)
    if seconds is not None:
        side = side_within(plan, seconds, sides)
        if side is not None:
            say(f"the time is short, so the search is at {side} px (--resolution chooses)")
            config = config.replace(search=config.search.replace(resolution=side))
            plan = plan_search(config)
        if free_epochs:
            plan = with_fewer_epochs(plan, seconds)
        plan = within(plan, seconds)
    tell_plan(plan)
    chosen = {"trials": plan.config.search.trials, "epochs": plan.config.search.epochs}
    return config.replace(search=config.search.replace(**chosen))


@click.command("run", cls=ConfiguredCommand)
@config_options
@click.option("--trials", type=int, help="Of the search.")
def run_command(**options: Any) -> None:
    """The whole line: search, coefficients, family, report. Continues what was begun."""
    if options["config"] is None:
        raise click.UsageError("Give --config, as `scaler run --config digits`.")
    config = configured(**options)
    from experiments.line import run_line
    from experiments.report.report import outcome_of, result_text

    folder = run_line(config)
    click.echo(result_text(folder))
    click.echo(f"\nReport: {folder.report}")
    for sentence in outcome_of(folder):
        click.echo(sentence)


@click.command("demo", cls=CheckedCommand)
@click.pass_context
def demo_command(context: click.Context) -> None:
    """The whole line on small images, in minutes: as `scaler run --config digits`."""
    context.invoke(run_command, config="digits")


@click.command("report", cls=CheckedCommand)
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Of several runs: the folder of the comparison; `comparison` unless given.",
)
@click.option("--watch", is_flag=True, help="Write it anew while the run is under way.")
@click.option(
    "--every",
    type=click.FloatRange(min=1),
    help="With --watch: seconds between looks; 15 unless given.",
)
@json_option
def report_command(
    runs: tuple[Path, ...], out: Path | None, watch: bool, every: float | None, as_json: bool
) -> None:
    """Write tables, figures and the HTML page of RUN anew from its store; of several RUNS, one page
    that compares them."""
    if len(runs) > 1 and watch:
        raise click.UsageError("--watch follows one run; name one.")
    if len(runs) == 1 and out is not None:
        raise click.UsageError("--out is of a comparison; one run's report stands in its folder.")
    if every is not None and not watch:
        raise click.UsageError("--every needs --watch.")
    if len(runs) > 1:
        _compare(runs, out or Path("comparison"), as_json=as_json)
        return
    from experiments.config.run_folder import RunFolder
    from experiments.report.report import result_text, watch_run, write_report

    folder = RunFolder.open(runs[0])
    path = watch_run(folder, every=every or 15) if watch else write_report(folder)
    if as_json:
        import json

        from experiments.store.trials import load_trials

        trials = json.loads(load_trials(folder.path).to_json(orient="records", date_format="iso"))
        print_json({"report": str(path), "trials": trials})
        return
    click.echo(result_text(folder))
    click.echo(f"\nReport: {path}")


def _compare(runs: tuple[Path, ...], out: Path, *, as_json: bool) -> None:
    import json

    from experiments.report.cells import plain
    from experiments.report.comparing import statements, write_comparison

    path, tables = write_comparison(runs, out)
    if as_json:
        data = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
        print_json({"report": str(path), **data})
        return
    click.echo(plain(tables["runs"]))
    for what, statement in statements(tables["verdicts"]):
        click.echo(f"\n{what}: {statement}")
    click.echo(f"\nReport: {path}")
