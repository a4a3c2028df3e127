"""The config of a run from its file and the command line, for every command that has one."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from experiments.cli.options import SEED, CheckedCommand, progress_options, within_board

if TYPE_CHECKING:
    from experiments.config.schema import SearchConfig

UNNAMED = "search"  # a run that nothing names
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")

Command = TypeVar("Command", bound=Callable[..., Any])

# option of the command line -> its place in the config
_OVERRIDES = {
    "run": "run",
    "seed": "seed",
    "data": "data.source",
    "download": "data.download",
    "workers": "cluster.workers",
    "address": "cluster.address",
    "storage": "cluster.storage",
    "space": "search.space",
    "resolution": "search.resolution",
    "sampler": "search.sampler",
    "warm_start": "search.warm_start.source",
    "warm_start_mode": "search.warm_start.mode",
    "trials": "search.trials",
    "epochs": "search.epochs",
    "cost": "search.cost",
    "target": "search.target",
    "targets": "search.targets",
    "front": "search.front",
    "exponent": "search.exponent",
    "at": "search.at",
    "early_stopping": "search.early_stopping.kind",
    "latency_model": "search.latency_model",
    "min_flops": "search.min_flops",
    "max_flops": "search.max_flops",
    "max_params": "search.max_params",
    "max_activations": "search.max_activations",
    "max_ram": "search.max_peak_ram",
    "max_flash": "search.max_flash",
    "max_latency": "search.max_latency",
}


def config_options(command: Command) -> Command:
    """Where a run's config comes from, and what most often differs between runs of one config."""
    options = [
        click.option("--config", help="A shipped config's name or a YAML file."),
        click.option("--run", type=click.Path(path_type=Path), help="The run folder."),
        click.option(
            "--data", help="A name as `digits` or `cifar10`, an image folder, or a table."
        ),
        click.option(
            "--download", is_flag=True, default=None, help="A data set by name that is not found."
        ),
        click.option("--seed", type=SEED, help="Of everything random."),
        click.option(
            "--recipe", help="How networks are trained: a shipped recipe's name or a YAML file."
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="Any setting of a config, as `data.augmentation.cutout=0.25` or "
            "`confirmation=null`. May be given more than once.",
        ),
        click.option("--workers", type=int, help="Trials at a time."),
        click.option("--address", help="A running Ray cluster; without it an embedded Ray."),
        click.option(
            "--storage",
            envvar="SCALER_STORAGE",
            help="A database URL (or in SCALER_STORAGE); without it a file in the run folder.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return progress_options(command)


class ConfiguredCommand(CheckedCommand):
    """A command of a config: its help prints the schema's defaults."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, each with the default that its setting has."""
        from experiments.config.schema import SearchConfig

        defaults = SearchConfig(name=UNNAMED).model_dump()
        for option in self.params:
            value: Any = defaults
            for key in _OVERRIDES.get(option.name or "", "name").split("."):
                value = value[key] if isinstance(value, dict) else None
            told = option.name in _OVERRIDES and value not in (None, False, 0.0, float("inf"))
            if isinstance(option, click.Option) and told and "[default" not in (option.help or ""):
                option.help = f"{option.help or ''}  [default: {value}]".strip()
        super().format_options(ctx, formatter)


def configured(
    *,
    config: str | None,
    settings: tuple[str, ...] = (),
    recipe: str | None = None,
    usual: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> "SearchConfig":
    """The config file's settings with the command line's on top, checked as one.

    `usual` are settings by their place, as `search.epochs`, for what neither of them gives.
    """
    import yaml

    from experiments.config.recipe import load_recipe
    from experiments.config.schema import SearchConfig
    from search_spaces.yaml_text import read_yaml

    base = SearchConfig.load(config) if config else SearchConfig(name=UNNAMED)
    data = base.model_dump()
    for place, value in usual.items():
        _put(data, place, value)
    if recipe is not None:
        data["train"] = load_recipe(recipe).model_dump()
    for option, value in _objective(within_board(options), base.search.cost).items():
        _put(data, _OVERRIDES[option], value)
    for setting in settings:
        place, equals, text = setting.partition("=")
        if not place or not equals:
            raise click.UsageError(f"--set takes KEY=VALUE, as `search.epochs=9`, not '{setting}'.")
        try:
            _put(data, place, read_yaml(text))
        except yaml.YAMLError:
            raise click.UsageError(f"--set {place}: '{text}' is no YAML value.") from None
    return SearchConfig.parse(data, source=config or "command line")


def _put(data: dict[str, Any], place: str, value: Any) -> None:
    """Set `data["a"]["b"]` where the place is `a.b`; a section that is off is switched on."""
    *sections, key = place.split(".")
    target = data
    for section in sections:
        if not isinstance(target.get(section), dict):
            target[section] = {}
        target = target[section]
    target[key] = value


def named_after(data: str | None) -> str:
    """A run's name after its data: `photos` of `~/photos/` and of `photos.csv`."""
    name = _NOT_IN_NAMES.sub("_", Path(data or UNNAMED).expanduser().absolute().stem)
    return name.strip("._-") or UNNAMED


def _objective(options: dict[str, Any], before: str) -> dict[str, Any]:
    """--target-flops as cost and target; another cost than the config's needs its own target.

    Several targets are `targets`.
    """
    from scaler.budget import UNITS

    options = {name: value for name, value in options.items() if value not in (None, ())}
    target_flops = options.pop("target_flops", None)
    if target_flops is not None:
        if options.get("cost", "flops") != "flops" or "target" in options:
            raise click.UsageError("--target-flops is --cost flops --target; give one of the two.")
        options |= {"cost": "flops", "target": target_flops}
    if options.get("front"):
        if "target" in options:
            raise click.UsageError("--front chooses the targets; give none, or leave it out.")
        options["target"] = ()
    if "target" in options:  # in place of whatever the config names
        several = len(options["target"]) > 1
        targets = tuple(sorted(options["target"])) if several else None
        options |= {"targets": targets, "front": options.get("front", False)}
        options["target"] = None if several or not options["target"] else options["target"][0]
    cost = options.get("cost", before)
    if cost != before and "target" not in options:
        raise click.UsageError(f"--cost {cost} needs --target, in {UNITS[cost]}.")
    return options
