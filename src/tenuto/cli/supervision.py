"""`tenuto ps`, `status`, `start`, `stop` …: an orchestrator that runs, seen and steered from outside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenuto.cli.errors import ExitCode
from tenuto.cli.options import Format, FormatOption

if TYPE_CHECKING:
    from tenuto.supervisor.command_client import CommandClient

__all__ = ["register"]

_PANEL = "Agents of a running orchestrator"
_WHERE = (
    "Where: --socket or --address, else TENUTO_COMMAND_ADDRESS, else the one orchestrator that listens in .tenuto/run "
    "of this folder. The token of an address that needs one comes from TENUTO_COMMAND_TOKEN."
)

SocketOption = Annotated[str | None, typer.Option("--socket", metavar="PATH", help="The orchestrator's Unix socket.")]
AddressOption = Annotated[
    str | None, typer.Option("--address", metavar="URL", help="Its address, such as tcp://127.0.0.1:5570.")
]
TimeoutOption = Annotated[
    str, typer.Option("--timeout", metavar="TIME", help="How long its answer may take: 500ms, 5s, 1m.")
]
AgentArgument = Annotated[str, typer.Argument(help="The agent's name.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    for name, command in (
        ("ps", ps),
        ("status", status),
        ("start", start),
        ("stop", stop),
        ("restart", restart),
        ("stats", stats),
        ("history", history),
        ("history-stats", history_stats),
        ("dependencies", dependencies),
        ("commands", commands),
        ("logs", logs),
        ("shutdown", shutdown),
    ):
        app.command(name, rich_help_panel=_PANEL, epilog=_WHERE if name != "logs" else None)(command)


def _client(socket: str | None, address: str | None, timeout: str) -> CommandClient:
    from tenuto.cli.parsing import seconds
    from tenuto.errors import InvalidInput
    from tenuto.supervisor.command_client import CommandClient

    if socket and address:
        raise InvalidInput("--socket and --address exclude each other: give one of them")
    limit = seconds(timeout, "--timeout")
    if limit <= 0:
        raise InvalidInput("--timeout must be longer than nothing")
    return CommandClient(f"ipc://{socket}" if socket else address, timeout=limit, sender=f"tenuto cli {os.getpid()}")


def _asked(command: str, args: Mapping[str, Any], socket: str | None, address: str | None, timeout: str) -> Any:
    with _client(socket, address, timeout) as client:
        return client.request(command, args)


def ps(
    format: FormatOption = Format.TABLE,
    socket: SocketOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = "5s",
) -> None:
    """List the agents, in the order of registration."""
    from tenuto.cli import output
    from tenuto.cli.supervision_tables import print_agents

    rows = _asked("ps", {}, socket, address, timeout)
    if format is Format.JSON:
        output.print_json({"agents": rows})
    else:
        print_agents(rows)


def status(
    agent: Annotated[str | None, typer.Argument(help="An agent's name; without: the orchestrator itself.")] = None,
    format: FormatOption = Format.TABLE,
    socket: SocketOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = "5s",
) -> None:
    """Show the orchestrator, or one agent with its settings. Secrets are masked."""
    from tenuto.cli import output
    from tenuto.cli.supervision_tables import print_status

    found = _asked("status", {"agent": agent} if agent is not None else {}, socket, address, timeout)
    if format is Format.JSON:
        output.print_json(found)
    else:
        print_status(found)


def start(
    agent: AgentArgument,
    format: FormatOption = Format.TABLE,
    socket: SocketOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = "1m",
) -> None:
    """Start an agent that does not run, or queue it."""
    _act("start", "started", agent, format, socket, address, timeout)


def stop(
    agent: AgentArgument,
    format: FormatOption = Format.TABLE,
    socket: SocketOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = "1m",
) -> None:
    """Stop an agent, and wait until it has ended. It is not restarted."""
    _act("stop", "stopped", agent, format, socket, address, timeout)


def restart(
    agent: AgentArgument,
    format: FormatOption = Format.TABLE,
    socket: SocketOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = "1m",
) -> None:
    """Stop an agent if it runs, and start it."""
    _act("restart", "restarted", agent, format, socket, address, timeout)


def _act(
    command: str, done: str, agent: str, format: Format, socket: str | None, address: str | None, timeout: str
) -> None:
    from tenuto.cli import output

    answer = _asked(command, {"agent": agent}, socket, address, timeout)
    if format is Format.JSON:
        output.print_json(answer)
        return
    state = answer.get("state") if isinstance(answer, dict) else None
    output.console().print(output.plain(f"{agent} {done}" + (f": {state}" if state else "")), soft_wrap=True)


def stats(
    live: Annotated[bool, typer.Option("--live", "-l", help="Go on until Ctrl-C.")] = False,
    interval: Annotated[str, typer.Option("--interval", metavar="TIME", help="Between two looks of --live.")] = "1s",
    format: FormatOption = Format.TABLE,
    socket: SocketOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = "5s",
) -> None:
    """Show numbers: agents by state, events, CPU and memory. --live with --format json: one document per line."""
    from tenuto.cli import output
    from tenuto.cli.parsing import seconds
    from tenuto.cli.supervision_live import watch_stats
    from tenuto.cli.supervision_tables import stats_lines

    every = max(seconds(interval, "--interval"), 0.1)
    with _client(socket, address, timeout) as client:
        if live:
            watch_stats(client, every, as_json=format is Format.JSON)
            return
        found = client.request("stats")
    if format is Format.JSON:
        output.print_json(found)
    else:
        out = output.console()
        for line in stats_lines(found, out):
            out.print(line, soft_wrap=True)


def history(
    event: Annotated[
        str | None, typer.Option("--event", "-e", metavar="NAME", help="Only these, such as agent_error.")
    ] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only of this agent.")] = None,
    category: Annotated[
        str | None, typer.Option("--category", metavar="NAME", help="agent, command, orchestrator or other.")
    ] = None,
    severity: Annotated[
        str | None, typer.Option("--severity", metavar="NAME", help="debug, info, warning, error or critical.")
    ] = None,
    after: Annotated[int | None, typer.Option("--after", metavar="SEQ", min=0, help="Only later ones.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, max=1_000, help="At most so many.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events until Ctrl-C.")] = False,
    format: FormatOption = Format.TABLE,
    socket: SocketOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = "5s",
) -> None:
    """Show what has happened to agents, newest last: the supervisor's own history, which ends with it.

    What has happened to tasks is in the store, and stays: `tenuto task events`.
    """
    from tenuto.cli import output
    from tenuto.cli.supervision_live import follow_history
    from tenuto.cli.supervision_tables import print_records

    given = {"event": event, "agent": agent, "category": category, "severity": severity, "after": after}
    wanted = {name: value for name, value in given.items() if value is not None}
    with _client(socket, address, timeout) as client:
        if follow:
            follow_history(client, wanted, limit, as_json=format is Format.JSON)
            return
        found = client.request("history", {**wanted, "limit": limit})
    if format is Format.JSON:
        output.print_json({"events": found, "after": found[-1]["seq"] if found else after})
    else:
        print_records(found)


def history_stats(
    format: FormatOption = Format.TABLE,
    socket: SocketOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = "5s",
) -> None:
    """Show how many events there were, what is kept of them, and how callbacks fare."""
    from tenuto.cli import output
    from tenuto.cli.supervision_tables import print_history_stats

    found = _asked("history-stats", {}, socket, address, timeout)
    if format is Format.JSON:
        output.print_json(found)
    else:
        print_history_stats(found)


def dependencies(
    format: FormatOption = Format.TABLE,
    socket: SocketOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = "5s",
) -> None:
    """Show which agent waits for which, in the order in which they are started."""
    from tenuto.cli import output
    from tenuto.cli.supervision_tables import print_dependencies

    found = _asked("dependencies", {}, socket, address, timeout)
    if format is Format.JSON:
        output.print_json(found)
    else:
        print_dependencies(found)


def commands(
    format: FormatOption = Format.TABLE,
    socket: SocketOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = "5s",
) -> None:
    """List the commands that the orchestrator knows, and whether it allows them."""
    from tenuto.cli import output
    from tenuto.cli.supervision_tables import print_commands

    found = _asked("commands", {}, socket, address, timeout)
    if format is Format.JSON:
        output.print_json({"commands": found})
    else:
        print_commands(found)


def logs(
    agent: Annotated[str | None, typer.Argument(help="The agent's name; without: which logs there are.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=1_000_000, help="The last so many lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
    directory: Annotated[
        str | None,
        typer.Option("--directory", metavar="PATH", help="Where logs lie. Default: TENUTO_LOG_DIR, then .tenuto/logs"),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what an agent has logged, also when nothing runs any more. With --format json: one document per line."""
    from tenuto.cli.agent_logs import list_logs, show_log

    if agent is None:
        list_logs(directory, as_json=format is Format.JSON)
    else:
        show_log(agent, directory, lines, follow=follow, as_json=format is Format.JSON)


def shutdown(
    format: FormatOption = Format.TABLE,
    socket: SocketOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = "1m",
) -> ExitCode:
    """Stop all agents and end the orchestrator; returns when its address is free again."""
    from tenuto.cli import output
    from tenuto.cli.parsing import seconds

    with _client(socket, address, timeout) as client:
        answer = client.request("shutdown")
        ended = client.gone(seconds(timeout, "--timeout"))
        where = client.address
    if format is Format.JSON:
        output.print_json({**answer, "ended": ended})
    elif ended:
        output.console().print(output.plain(f"The orchestrator at {where} has ended."), soft_wrap=True)
    if not ended:
        output.remark(f"The orchestrator at {where} is still shutting down.")
    return ExitCode.OK if ended else ExitCode.TIMEOUT
