"""Options that several commands share, their completion, and the printing of results."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from experiments.config.messages import say, speak
from experiments.config.units import count_of

Command = TypeVar("Command", bound=Callable[..., Any])

CLASSES = click.IntRange(1, 10**6)  # a layer for more would not fit into memory
CHANNELS = click.IntRange(1, 10**4)  # hyperspectral cameras have hundreds
PIXELS = click.IntRange(1, 2**14)  # one image of this side is 3 GB as floats


if TYPE_CHECKING:
    _Number = click.ParamType[float]
else:
    _Number = click.ParamType  # click before 8.4 takes no type in brackets


class Count(_Number):
    """A number as people write it: `15M`, `1.5G`, `256KiB`."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; the units that there are, where it has none of them."""
        try:
            return count_of(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


COUNT = Count()
SEED = click.IntRange(0, 2**31 - 1)  # what a config allows
SECONDS = click.FloatRange(0, 86_400, min_open=True)
_LARGEST = 2**31 - 1  # of a count; torch, Ray and databases take no more everywhere


class CheckedCommand(click.Command):
    """A command whose every option and argument is checked for what no value may be."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raise UsageError for an empty value, for nan, and for an endless number."""
        for before, value in zip(["", *args], args, strict=False):
            if value == "" or (value.startswith("--") and value.endswith("=")):
                named = value.rstrip("=") or (before if before.startswith("-") else "an argument")
                raise click.UsageError(f"{named} is given an empty value; name one.", ctx)
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            given = ctx.params.get(parameter.name or "")
            for value in given if isinstance(given, tuple) else (given,):
                if isinstance(value, int | float) and (value != value or _too_large(value)):
                    wanted = "a number" if value != value else f"at most {_LARGEST:,}"
                    raise click.BadParameter(f"{value} is not {wanted}.", ctx, parameter)
        return rest


def _too_large(value: float) -> bool:
    return isinstance(value, int) and value > _LARGEST


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document, no tables.")


ASSUMED = {"num_classes": 1000, "in_channels": 3}  # ImageNet's: what a cost is counted for


def size_options(command: Command) -> Command:
    """What a cost is counted for; `counted_for` fills in what is not given."""
    told = "[default: what the file states, else {}]"
    classes = click.option("--num-classes", type=CLASSES, help=told.format(1000))
    channels = click.option("--in-channels", type=CHANNELS, help=told.format(3))
    return classes(channels(command))


def counted_for(
    architectures: Sequence[str], *, num_classes: int | None, in_channels: int | None
) -> dict[str, int]:
    """The classes and channels that costs are counted for; what is assumed is said with the result.

    What is not given is what the architectures' files state, as those of a run do; where none
    does, 1,000 classes and 3 channels. UsageError where two files state different ones.
    """
    from search_spaces.reference import stated_sizes

    sizes: dict[str, int] = {}
    assumed = []
    given = {"num_classes": num_classes, "in_channels": in_channels}
    for name, value in given.items():
        if value is not None:
            sizes[name] = value
            continue
        stated = {a: s[name] for a in architectures if name in (s := stated_sizes(a))}
        if len(set(stated.values())) > 1:
            raise click.UsageError(
                f"The files state different {name}, {sorted(set(stated.values()))}; give "
                f"--{name.replace('_', '-')}."
            )
        sizes[name] = next(iter(stated.values()), ASSUMED[name])
        source = f"as {next(iter(stated))} states" if stated else "assumed"
        option = f"--{name.replace('_', '-')}"
        assumed.append(f"{sizes[name]:,} {name.split('_')[1]} ({source}; {option} sets it)")
    if assumed:
        click.get_current_context().meta["counted"] = f"counted for {' and '.join(assumed)}"
    return sizes


def tell_counted() -> None:
    """Say once, on standard error, what `counted_for` assumed; after an error it is not said."""
    told = click.get_current_context().meta.pop("counted", None)
    if told:
        click.echo(told, err=True)


board_option = click.option(
    "--board", help="As --max-ram and --max-flash of a board; `scaler list` has the names."
)


def within_board(options: dict[str, Any]) -> dict[str, Any]:
    """Options with `board` as limits, and said; what is given beside it as a limit counts first."""
    from experiments.config.boards import BOARDS, board_limits

    rest = {name: value for name, value in options.items() if name != "board"}
    board = options.get("board")
    if board is None:
        return rest
    limits = board_limits(board)
    said = click.get_current_context().meta
    if said.get("board") != board:  # a config may be read twice
        said["board"] = board
        say(
            f"{board}: {limits['max_ram']:,.0f} bytes of RAM and {limits['max_flash']:,.0f} of "
            f"flash ({BOARDS[board].source}); the runtime and your own code need some of both"
        )
    given = {name: rest.get(name) for name in limits}
    return {**rest, **{n: limits[n] if given[n] is None else given[n] for n in limits}}


def progress_options(command: Command) -> Command:
    """How the command speaks while it works, on standard error."""
    for name, way, told in (
        ("--json-log", "json", "One JSON object a line on standard error (docs/progress.md)."),
        ("--quiet", "quiet", "Only the result and errors."),
    ):
        command = click.option(
            name,
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda _ctx, _param, given, way=way: speak(way) if given else None,
            help=told,
        )(command)
    return command


def complete_architecture(
    context: click.Context,  # noqa: ARG001, click's signature
    parameter: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Names that begin with what is typed; files where there are none."""
    names = [name for name in known_architectures() if name.startswith(incomplete)]
    if not names:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(name) for name in names]


def from_run(
    context: click.Context,  # noqa: ARG001, click's signature
    parameter: click.Parameter,  # noqa: ARG001
    given: Any,
) -> Any:
    """Architectures as they are named; a run folder stands for its baseline, which is said."""
    return tuple(map(_baseline_of, given)) if isinstance(given, tuple) else _baseline_of(given)


def _baseline_of(name: str) -> str:
    folder = Path(name)
    if name in known_architectures():
        return name
    if folder.is_dir() and not any(folder.glob("*.yaml")):
        raise click.UsageError(
            f"'{name}' is a folder without a network. If it holds images, "
            f"`scaler train resnet18 --data {name} --epochs 10` trains on them "
            f"(`scaler list` has the networks)."
        )
    if not (folder / "config.yaml").is_file():
        return name
    if not (folder / "baseline.yaml").is_file():
        raise click.UsageError(
            f"'{name}' has no baseline yet; `scaler search --run {name}` with the command that "
            f"began it goes on."
        )
    say(f"{name}: its baseline, {folder / 'baseline.yaml'}")
    return str(folder / "baseline.yaml")


def known_architectures() -> list[str]:
    """`list_architectures()`, from a file of names where the tables are as they were then.

    The tables need torch, which takes seconds to load: too long for a tabulator key.
    """
    tables = sorted((Path(__file__).parents[2] / "search_spaces" / "reference").glob("*.py"))
    stamp = " ".join(str(table.stat().st_mtime_ns) for table in tables)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "scaler-completion"
    try:
        kept, *names = cache.read_text(encoding="utf-8").splitlines()
        if kept == stamp and names:
            return names
    except (OSError, ValueError):
        pass  # not there yet, or not ours
    from search_spaces.reference import list_architectures

    names = list_architectures()
    try:
        from experiments.config.files import replace_file

        cache.parent.mkdir(parents=True, exist_ok=True)
        replace_file(cache, lambda file: file.write("\n".join([stamp, *names]).encode()))
    except OSError:
        pass  # slow next time too
    return names


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    tell_counted()
    click.echo(json.dumps(data, indent=2))


def print_table(rows: list[dict[str, Any]]) -> None:
    """A table with a column for each key; numbers right, thousands parted."""
    from tabulate import tabulate

    tell_counted()
    shown = [{key: _shown(value) for key, value in row.items()} for row in rows]
    numeric = [isinstance(value, int | float) or value is None for value in rows[0].values()]
    align = ["right" if number else "left" for number in numeric]
    click.echo(tabulate(shown, headers="keys", colalign=align, disable_numparse=True))


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
