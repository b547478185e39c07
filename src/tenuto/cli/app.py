"""The program: its groups of commands, its global options, and how every run of it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from tenuto._version import __version__
from tenuto.cli import demo, goals, limits, runs, schedules, spending, stores, supervision, tasks
from tenuto.cli.errors import EXIT_CODES, ExitCode, complain
from tenuto.cli.options import StoreOption

__all__ = ["app", "run"]

_EPILOG = (
    "Examples:\n\n"
    "  tenuto demo                                         review this source tree\n"
    "  tenuto run --dag plan.json --agents my_agents       run a plan here, until it is done\n"
    "  tenuto worker --agents my_agents                    run whatever tasks come\n"
    "  tenuto task list --state failed                     what went wrong\n"
    "  tenuto goal graph GOAL                              a goal as a picture\n\n"
    "Exit codes:\n\n" + "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
)

app = typer.Typer(
    name="tenuto",
    help="Durable tasks for agents that must finish: held until they are done, in one file by default.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo", epilog=demo.EXAMPLES)(demo.demo)
app.command("run", epilog=runs.RUN_EXAMPLES)(runs.run_plan)
app.command("worker", epilog=runs.WORKER_EXAMPLES)(runs.worker)
app.add_typer(tasks.app, name="task")
app.add_typer(goals.app, name="goal")
app.add_typer(schedules.app, name="schedule")
app.add_typer(spending.BUDGETS, name="budget")
app.add_typer(limits.app, name="limit")
app.command("usage", epilog=spending.USAGE_EXAMPLES)(spending.usage)
app.add_typer(stores.app, name="store")
supervision.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tenuto {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    store: StoreOption = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (also: TENUTO_DEBUG=1).")] = False,
    version: Annotated[  # noqa: ARG001 - dealt with by its callback
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = store
    if debug:
        os.environ["TENUTO_DEBUG"] = "1"  # the environment, so that worker processes show theirs too


def run(arguments: Sequence[str]) -> int:
    """Runs the program with `arguments`, and returns its exit code. Raises nothing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # text that this terminal cannot show is no reason to fail
    try:
        code = get_command(app).main(list(arguments), prog_name="tenuto", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else ExitCode.OK
    except typer.TyperException as error:
        return _usage(error)
    except typer.Abort:
        print("tenuto: nothing was changed", file=sys.stderr)  # noqa: T201
        return ExitCode.INTERRUPTED
    except SystemExit as error:
        # Typer ends the program this way when whoever reads its output went away.
        _discard_output()
        return error.code if isinstance(error.code, int) and error.code != 1 else ExitCode.BROKEN_PIPE
    except BrokenPipeError:
        _discard_output()
        return ExitCode.BROKEN_PIPE
    except BaseException as error:  # noqa: BLE001 - the last door: whatever it is, people get a sentence and a code
        return complain(error)


def _usage(error: typer.TyperException) -> int:
    """Says what is wrong with the arguments, and where to read about them."""
    message = error.format_message()
    if message:  # empty where the help was shown instead
        context = getattr(error, "ctx", None)
        print(f"tenuto: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
        if context is not None:
            print(f"Try '{context.command_path} --help'.", file=sys.stderr)  # noqa: T201
    return ExitCode.USAGE


def _discard_output() -> None:
    """Lets the interpreter flush what is left without another complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
