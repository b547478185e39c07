"""`tenuto ps`, `status`, `start`, `stop` …: an orchestrator that runs, seen and steered from outside."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tenuto.cli.asking import WHERE, Line, asks
from tenuto.cli.errors import ExitCode
from tenuto.cli.options import Format, FormatOption

__all__ = ["register"]

_PANEL = "Agents of a running orchestrator"

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
        app.command(name, rich_help_panel=_PANEL, epilog=WHERE if name != "logs" else None)(command)


@asks()
def ps(line: Line) -> None:
    """List the agents, in the order of registration."""
    from tenuto.cli.supervision_tables import print_agents

    line.show(line.ask("ps"), print_agents, listed_as="agents")


@asks()
def status(
    line: Line,
    agent: Annotated[str | None, typer.Argument(help="An agent's name; without: the orchestrator itself.")] = None,
) -> None:
    """Show the orchestrator, or one agent with its settings. Secrets are masked."""
    from tenuto.cli.supervision_tables import print_status

    line.show(line.ask("status", agent=agent), print_status)


@asks(timeout="1m")
def start(line: Line, agent: AgentArgument) -> None:
    """Start an agent that does not run, or queue it."""
    _act(line, "start", "started", agent)


@asks(timeout="1m")
def stop(line: Line, agent: AgentArgument) -> None:
    """Stop an agent, and wait until it has ended. It is not restarted."""
    _act(line, "stop", "stopped", agent)


@asks(timeout="1m")
def restart(line: Line, agent: AgentArgument) -> None:
    """Stop an agent if it runs, and start it."""
    _act(line, "restart", "restarted", agent)


def _act(line: Line, command: str, done: str, agent: str) -> None:
    from tenuto.cli.supervision_tables import print_deed

    line.show(line.ask(command, agent=agent), lambda found: print_deed(agent, done, found))


@asks()
def stats(
    line: Line,
    live: Annotated[bool, typer.Option("--live", "-l", help="Go on until Ctrl-C.")] = False,
    interval: Annotated[str, typer.Option("--interval", metavar="TIME", help="Between two looks of --live.")] = "1s",
) -> None:
    """Show numbers: agents by state, events, CPU and memory. --live with --format json: one document per line."""
    from tenuto.cli.parsing import seconds
    from tenuto.cli.supervision_live import watch_stats
    from tenuto.cli.supervision_tables import print_stats

    every = max(seconds(interval, "--interval"), 0.1)
    if not live:
        line.show(line.ask("stats"), print_stats)
        return
    with line.client() as client:
        watch_stats(client, every, as_json=line.as_json)


@asks()
def history(
    line: Line,
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
) -> None:
    """Show what has happened to agents, newest last: the supervisor's own history, which ends with it.

    What has happened to tasks is in the store, and stays: `tenuto task events`.
    """
    from tenuto.cli.output import print_json
    from tenuto.cli.supervision_live import follow_history
    from tenuto.cli.supervision_tables import print_records

    given = {"event": event, "agent": agent, "category": category, "severity": severity, "after": after}
    wanted: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if follow:
        with line.client() as client:
            follow_history(client, wanted, limit, as_json=line.as_json)
        return
    found = line.ask("history", **wanted, limit=limit)
    if line.as_json:
        print_json({"events": found, "after": found[-1]["seq"] if found else after})
    else:
        print_records(found)


@asks()
def history_stats(line: Line) -> None:
    """Show how many events there were, what is kept of them, and how callbacks fare."""
    from tenuto.cli.supervision_tables import print_history_stats

    line.show(line.ask("history-stats"), print_history_stats)


@asks()
def dependencies(line: Line) -> None:
    """Show which agent waits for which, in the order in which they are started."""
    from tenuto.cli.supervision_tables import print_dependencies

    line.show(line.ask("dependencies"), print_dependencies)


@asks()
def commands(line: Line) -> None:
    """List the commands that the orchestrator knows, and whether it allows them."""
    from tenuto.cli.supervision_tables import print_commands

    line.show(line.ask("commands"), print_commands, listed_as="commands")


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


@asks(timeout="1m")
def shutdown(line: Line) -> ExitCode:
    """Stop all agents and end the orchestrator; returns when its address is free again."""
    from tenuto.cli import output

    with line.client() as client:
        answer = client.request("shutdown")
        ended = client.gone(line.seconds)
        where = client.address
    if line.as_json:
        output.print_json({**answer, "ended": ended})
    elif ended:
        output.console().print(output.plain(f"The orchestrator at {where} has ended."), soft_wrap=True)
    if not ended:
        output.remark(f"The orchestrator at {where} is still shutting down.")
    return ExitCode.OK if ended else ExitCode.TIMEOUT
