"""`scaler schema`: JSON Schemas, with which editors complete and check YAML."""

import click

from experiments.cli.options import CheckedCommand, print_json


@click.command("schema", cls=CheckedCommand)
@click.argument("what", type=click.Choice(["config", "architecture", "space"]), default="config")
def schema_command(what: str) -> None:
    """Print the JSON Schema of a config, an architecture or a search space.

    Write it to a file and name that in the first line of a YAML file:
    `# yaml-language-server: $schema=config.schema.json`.
    """
    from experiments.config.reference import SCHEMAS

    print_json(SCHEMAS[what]())
