"""`scaler proxy`: what short trainings are worth."""

from typing import Any

import click

from experiments.cli.launch import config_options, configured
from experiments.cli.options import CheckedCommand, json_option, print_json


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
