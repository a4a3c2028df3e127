"""`scaler coefficients`, `compare` and `proxy`: trainings that stand beside a search."""

from typing import Any

import click

from experiments.cli.configured import config_options, configured
from experiments.cli.options import (
    COUNT,
    CheckedCommand,
    board_option,
    complete_architecture,
    from_run,
    json_option,
    print_json,
    within_board,
)
from experiments.config.messages import say

_LIMITS = {"max_flops": "flops", "max_ram": "peak_ram", "max_flash": "flash"}


@click.command("coefficients", cls=CheckedCommand)
@click.argument("architecture", shell_complete=complete_architecture, callback=from_run)
@config_options
@click.option(
    "--rule",
    type=click.Choice(["equal_flops", "phi"]),
    help="Compare at equal measured FLOPs (the default), or as the paper at one phi.",
)
@click.option("--step", type=float, help="Of the grid of alpha, beta, gamma, each from 1.")
@click.option("--tolerance", type=float, help="How far alpha * beta^2 * gamma^2 may be from 2.")
@click.option("--target-ratio", type=float, help="FLOPs of all candidates over ARCHITECTURE's.")
@click.option("--flops-tolerance", type=float, help="Of these FLOPs, as 0.01.")
@click.option("--phi", type=float, help="Of --rule phi.")
@click.option("--max-flops", type=COUNT, help="No candidate has more FLOPs. As 15M.")
@click.option("--max-ram", type=COUNT, help="Likewise of bytes of RAM, as int8. As 256KiB.")
@click.option("--max-flash", type=COUNT, help="Likewise of bytes of flash, as int8.")
@board_option
@click.option("--epochs", type=int, help="Of each training.")
@click.option("--leaders", type=int, help="Of the first trainings, trained again with new seeds.")
@click.option("--seeds", type=int, help="New seeds of each leader.")
def coefficients_command(architecture: str, **options: Any) -> None:
    """Find alpha, beta, gamma for ARCHITECTURE by short trainings on the config's data.

    Every direction with alpha * beta^2 * gamma^2 near 2 is scaled to the same measured FLOPs and
    trained; the leaders again with new seeds. Prints them ranked.
    """
    from experiments.config.run_folder import RunFolder
    from experiments.config.sections import CoefficientsSection
    from experiments.engine.session import open_session
    from experiments.report.report import coefficients_text, write_report
    from experiments.steps.coefficients import coefficient_grid, grown_members, run_coefficients
    from search_spaces.records import InputError
    from search_spaces.reference import load_architecture

    baseline = load_architecture(architecture)
    limited = within_board({name: options.pop(name) for name in ("board", *_LIMITS)})
    limits = {cost: limited[name] for name, cost in _LIMITS.items() if limited[name] is not None}
    given = {name: options.pop(name, None) for name in CoefficientsSection.model_fields}
    given["limits"] = limits or None
    config = configured(**options)
    changes = {name: value for name, value in given.items() if value is not None}
    section = {**config.coefficients.model_dump(), **changes}
    config = config.replace(
        coefficients=CoefficientsSection.parse(section, source="command line: coefficients")
    )
    coefficient_grid(step=config.coefficients.step, tolerance=config.coefficients.tolerance)

    def check(sizes: dict[str, int]) -> None:
        before = RunFolder(config.run_folder, config).baseline()
        if before is not None and before.key != baseline.key:
            raise InputError(
                f"'{config.run_folder}' has another baseline, {before.name}; "
                f"name a new folder with --run"
            )
        grown_members(baseline, config.coefficients, **sizes)

    with open_session(config, check=check) as session:
        session.folder.write_baseline(baseline, recipe=session.folder.recipe(), sizes=session.sizes)
        run_coefficients(session, baseline)
    write_report(session.folder)
    path = session.folder.path / "coefficients.yaml"
    click.echo(coefficients_text(session.folder))
    say(f"Written to {path}. Scale with them: scaler scale ARCH --coefficients {path} --phi 1")


@click.command("compare", cls=CheckedCommand)
@config_options
@click.argument("architectures", nargs=-1, shell_complete=complete_architecture, callback=from_run)
@click.option("--epochs", type=int, help="Of each training.")
@click.option("--seeds", type=int, help="Trainings of each network.")
def compare_command(
    architectures: tuple[str, ...], epochs: int | None, seeds: int | None, **options: Any
) -> None:
    """Train ARCHITECTURES (names or files) side by side with one recipe; draw their curves.

    Those of the config's `comparison.networks`, unless some are named here. Continues what was
    begun.
    """
    config = configured(**options)
    if options["config"] is None:
        config = config.replace(name="comparison")
    from experiments.config.sections import ComparisonSection
    from experiments.engine.session import open_session
    from experiments.report.report import result_text, write_report
    from experiments.steps.comparison import compared_networks, run_comparison

    given: dict[str, Any] = {"epochs": epochs, "seeds": seeds}
    if architectures:
        given["networks"] = {"networks": architectures}
    changes = {name: value for name, value in given.items() if value is not None}
    section = {**config.comparison.model_dump(), **changes}
    config = config.replace(comparison=ComparisonSection.parse(section, source="command line"))
    compared_networks(config.comparison)
    with open_session(config) as session:
        run_comparison(session)
    report = write_report(session.folder)
    click.echo(result_text(session.folder))
    click.echo(f"\nReport: {report}")


@click.command("proxy", cls=CheckedCommand)
@config_options
@click.option("--space", help="A search space's name or a YAML file.")
@click.option("--networks", type=int, help="How many random ones; a continued run adds to them.")
@click.option("--epochs", "long_epochs", type=int, help="Of the longer training.")
@click.option("--correlation", type=float, help="The wished rank correlation (Spearman's rho).")
@json_option
def proxy_command(
    networks: int | None,
    long_epochs: int | None,
    correlation: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Rank random networks of a space by short trainings and zero-cost scores, and by longer ones.

    Prints how well each ranking agrees with the longer training's, and its cost; the cheapest that
    agrees well enough is the proxy to search with. Continues what was begun.
    """
    if options["address"] is not None:
        raise click.UsageError("`scaler proxy` trains in this process; leave --address out.")
    config = configured(**options)
    if options["config"] is None:
        config = config.replace(name="proxy")
    from experiments.config.sections import ProxySection
    from experiments.steps.proxies import run_proxies

    given = {"networks": networks, "epochs": long_epochs, "correlation": correlation}
    changes = {name: value for name, value in given.items() if value is not None}
    section = ProxySection.parse({**config.proxy.model_dump(), **changes}, source="command line")
    table, chosen = run_proxies(config.replace(proxy=section))
    path = config.run_folder / "tables" / "proxies.csv"
    if as_json:
        print_json({"proxies": table.to_dict("records"), "chosen": chosen, "table": str(path)})
        return
    from experiments.report.cells import plain

    click.echo(plain(table))
    click.echo(f"\n{_advice(chosen, section.correlation)}\nTable: {path}")


def _advice(chosen: str | None, correlation: float) -> str:
    if chosen is None:
        return (
            f"No proxy reaches a correlation of {correlation:g}; train longer ones, as "
            f"`trainings: [{{epochs: 4}}]` in the config's section `proxy`, or lower --correlation."
        )
    return f"The cheapest proxy with a correlation of at least {correlation:g}: {chosen}."
