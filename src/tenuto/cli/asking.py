"""Commands that ask a running orchestrator: the options that say which one, written once for all of them.

    @asks()
    def ps(line: Line) -> None:
        line.show(line.ask("ps"), print_agents)

The program's options are then `--format`, `--socket`, `--address` and `--timeout`, and those of the function itself.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tenuto.cli.options import Format, FormatOption

if TYPE_CHECKING:
    from tenuto.supervisor.command_client import CommandClient

__all__ = ["WHERE", "Line", "asks"]

WHERE = (
    "Where: --socket or --address, else TENUTO_COMMAND_ADDRESS, else the one orchestrator that listens in the run "
    "directory, which is .tenuto/run of this folder or TENUTO_RUN_DIR. The token of an address that needs one comes "
    "from TENUTO_COMMAND_TOKEN."
)

R = TypeVar("R")


@dataclass(frozen=True)
class Line:
    """The line to an orchestrator that a command was told to use, and how its answer is written."""

    format: Format
    socket: str | None
    address: str | None
    timeout: str

    @property
    def as_json(self) -> bool:
        """Whether a program reads the answer."""
        return self.format is Format.JSON

    @property
    def seconds(self) -> float:
        """How long an answer may take. Raises `InvalidInput`."""
        from tenuto.cli.parsing import seconds
        from tenuto.errors import InvalidInput

        limit = seconds(self.timeout, "--timeout")
        if limit <= 0:
            raise InvalidInput("--timeout must be longer than nothing")
        return limit

    def client(self) -> CommandClient:
        """A client on that line. Raises `Unreachable`, and `InvalidInput` for options that make no sense."""
        from tenuto.errors import InvalidInput
        from tenuto.supervisor.command_client import CommandClient

        if self.socket and self.address:
            raise InvalidInput("--socket and --address exclude each other: give one of them")
        address = f"ipc://{_path(self.socket)}" if self.socket else self.address
        return CommandClient(address, timeout=self.seconds, sender=f"tenuto cli {os.getpid()}")

    def ask(self, command: str, **args: Any) -> Any:
        """What the orchestrator answers to `command`; arguments that are None are left out."""
        with self.client() as client:
            return client.request(command, {name: value for name, value in args.items() if value is not None})

    def show(self, found: Any, page: Callable[[Any], None], *, listed_as: str | None = None) -> None:
        """Writes an answer: as JSON (a list as the field `listed_as` of a document), or as `page` writes it."""
        if not self.as_json:
            page(found)
            return
        from tenuto.cli.output import print_json

        print_json(found if listed_as is None else {listed_as: found})


def _path(socket: str) -> str:
    """The path of a socket that is given as a path, or by the orchestrator's name."""
    from tenuto.supervisor.run_directory import socket_path

    named = socket_path(socket) if os.sep not in socket and not Path(socket).exists() else None
    return str(named) if named is not None and named.exists() else socket


def _options(
    format: FormatOption = Format.TABLE,
    socket: Annotated[
        str | None, typer.Option("--socket", metavar="PATH", help="The orchestrator's Unix socket, or its name.")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", metavar="URL", help="Its address, such as tcp://127.0.0.1:5570.")
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="How long its answer may take: 500ms, 5s, 1m.")
    ] = "5s",
) -> Line:
    return Line(format, socket, address, timeout)


def asks(*, timeout: str = "5s") -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Gives a command the options of a `Line`, behind its own; it gets the line first. timeout: its default."""
    names = list(inspect.signature(_options).parameters)

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(command)
        def run(**given: Any) -> R:
            line = _options(**{name: given.pop(name) for name in names})
            return command(line, **given)

        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        common = dict(inspect.signature(_options, eval_str=True).parameters)
        common["timeout"] = common["timeout"].replace(default=timeout)
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *common.values())]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer looks at
        return run

    return decorate
