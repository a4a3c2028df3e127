"""The `scaler` command. Heavy imports wait inside the commands, so that --help answers at once.

May import every room but `benchmarks`. Read `launch` first (search, run, report), then `options`.
"""

import sys

import click

from experiments.cli.doctor import doctor_command
from experiments.cli.export import export_command, predict_command
from experiments.cli.latency import latency_command
from experiments.cli.launch import demo_command, report_command, run_command, search_command
from experiments.cli.look import cost_command, list_command, schema_command, show_command
from experiments.cli.scale import scale_command
from experiments.cli.studies import coefficients_command, compare_command, proxy_command
from experiments.cli.train import train_command
from experiments.config.messages import complain, speaking
from experiments.engine.machines.processes import Terminated, ending_with_signals, status_of_signal

_STOPPED = "stopped; every finished trial is kept, the same command goes on"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="scaler-nas")
def cli() -> None:
    """Search a small convolutional network under a FLOPs target, then scale it to any budget.

    FLOPs are multiply-adds of convolution and linear operators everywhere.

    \b
    Begin with one of these:
      scaler demo                         the whole line on small images, a few minutes
      scaler search --data photos/        a network for your own images
      scaler scale efficientnet_b0 --target-flops 1e9
    """


for _command in (
    demo_command,
    list_command,
    show_command,
    cost_command,
    latency_command,
    search_command,
    coefficients_command,
    scale_command,
    run_command,
    compare_command,
    proxy_command,
    train_command,
    report_command,
    export_command,
    predict_command,
    doctor_command,
    schema_command,
):
    cli.add_command(_command)


def main() -> None:
    """Exit status: 0 done, 1 the work failed, 2 the user's input was wrong, 128 + n by signal n."""
    with speaking(), ending_with_signals():
        sys.exit(_status())


def _status() -> int:
    from search_spaces.records import InputError

    status = 0
    try:
        status = cli.main(prog_name="scaler", standalone_mode=False) or 0
    except InputError as error:
        status = _complain(str(error), 2)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.message)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "scaler"
        status = _complain(f"{error.format_message()} See `{command} --help`.", 2)
    except click.ClickException as error:
        status = _complain(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt, Terminated):
        status = _complain(_STOPPED, status_of_signal() or 130)
    except OSError as error:
        status = _of_the_system(error)
    except RuntimeError as error:
        if type(error).__name__ != "WorkFailed":
            raise
        status = _complain(str(error), 1)
    return status if isinstance(status, int) else 0


def _of_the_system(error: OSError) -> int:
    from experiments.config.files import FULL

    if isinstance(error, BrokenPipeError):  # the reader of our output has gone, as `head` does
        sys.stdout = None
        return 0
    if error.errno in FULL:
        where = f" for '{error.filename}'" if error.filename else ""
        return _complain(f"no room is left{where}; make room, and the same command goes on", 1)
    raise error


def _complain(message: str, status: int) -> int:
    complain(message if message is _STOPPED else f"error: {message}", status=status)
    return status
