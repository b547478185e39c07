"""`tenuto task`: what people say to a task that works: answers, approvals, steering."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from tenuto.cli.errors import ExitCode
from tenuto.cli.options import Format, FormatOption, LimitOption, StoreOption
from tenuto.cli.task_verbs import each_id

if TYPE_CHECKING:
    from tenuto.client import Client
    from tenuto.tasks.calls import OpenCall

__all__ = ["register"]

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The task's whole id.")]
CallArgument = Annotated[str, typer.Argument(metavar="CALL", help="The call's id, as `tenuto task calls` shows it.")]
NoteOption = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why; the agent reads it.")]
ByOption = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who decides. Default: your login name.")]


def register(app: typer.Typer) -> None:
    """Adds the verbs to `tenuto task`."""
    app.command(
        epilog="Examples:\n\n  tenuto task calls\n  tenuto task calls --owner ann --format json\n"
        "  tenuto task calls task-0199"
    )(calls)
    app.command(
        epilog="Examples:\n\n  tenuto task approve task-0199… call_7\n"
        '  tenuto task approve task-0199… call_7 --arguments \'{"path": "old.log"}\' --by ann'
    )(approve)
    app.command(epilog='Examples:\n\n  tenuto task reject task-0199… call_7 --note "keep it"')(reject)
    app.command(epilog="Examples:\n\n  tenuto task answer task-0199… call_7 --value '{\"allowed\": true}'")(answer)
    app.command(epilog='Examples:\n\n  tenuto task steer task-0199… "focus on the financial aspects"')(steer)


def calls(
    context: typer.Context,
    task_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only this task: its id, or the beginning or end of it.")
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="NAME", help="Only tasks of this owner.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only tasks of this agent.")] = None,
    limit: LimitOption = 1_000,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """List what tasks wait for people to answer or approve: of one task, or of all."""
    import msgspec

    from tenuto.cli import output
    from tenuto.cli.ids import full_id
    from tenuto.cli.session import with_client
    from tenuto.cli.times import relative
    from tenuto.tasks.clock import iso, wall_clock

    async def read(client: Client) -> list[OpenCall]:
        one = None if task_id is None else await full_id(client, task_id)
        return await client.open_calls(one, owner_id=owner, agent=agent, limit=limit)

    found = with_client(context, store, read)
    if format is Format.JSON:
        output.print_json(
            [
                {
                    "task_id": call.task_id,
                    "agent": call.agent,
                    "owner": call.owner_id,
                    "tool_call_id": call.id,
                    "kind": call.kind,
                    "tool": call.tool,
                    "arguments": call.arguments,
                    "at": iso(call.at),
                    "until": None if call.until is None else iso(call.until),
                }
                for call in found
            ]
        )
        return
    now = wall_clock()
    many = task_id is None
    columns = (
        *((output.Column("TASK", least=8), output.Column("AGENT", rank=3)) if many else ()),
        output.Column("CALL", least=8),
        output.Column("ASKS FOR"),
        output.Column("TOOL", least=8),
        output.Column("ARGUMENTS", rank=2, least=16),
        output.Column("UNTIL", rank=1),
    )
    rows = [
        (
            *((call.task_id, call.agent) if many else ()),
            call.id,
            call.kind,
            call.tool,
            msgspec.json.encode(call.arguments).decode(),
            "" if call.until is None else relative(call.until, now),
        )
        for call in found
    ]
    output.print_table(
        output.console(), columns, rows, "No task waits for an answer." if many else "It waits for nobody's answer."
    )


def approve(
    context: typer.Context,
    task_id: IdArgument,
    call: CallArgument,
    note: NoteOption = None,
    by: ByOption = None,
    arguments: Annotated[
        str | None,
        typer.Option("--arguments", metavar="JSON", help="Only if it was issued with exactly these. Also @file."),
    ] = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Approve a call that waits for it; it runs then."""
    from tenuto.cli.parsing import json_value

    given = None if arguments is None else json_value(arguments, "--arguments")
    return _once(
        context,
        store,
        task_id,
        call,
        format,
        "approved",
        lambda client: client.approve(task_id, call, note, by=by or _login(), arguments=given),
    )


def reject(
    context: typer.Context,
    task_id: IdArgument,
    call: CallArgument,
    note: NoteOption = None,
    by: ByOption = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Reject a call that waits for an approval; the agent learns why."""
    return _once(
        context,
        store,
        task_id,
        call,
        format,
        "rejected",
        lambda client: client.reject(task_id, call, note, by=by or _login()),
    )


def answer(
    context: typer.Context,
    task_id: IdArgument,
    call: CallArgument,
    value: Annotated[str, typer.Option("--value", metavar="JSON", help="JSON, @file, or - for standard input.")],
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Deliver the result of a call that somebody else does."""
    from tenuto.cli.parsing import json_value

    told = json_value(value, "--value")
    return _once(
        context,
        store,
        task_id,
        call,
        format,
        "answered",
        lambda client: client.complete_deferred_tool(task_id, call, told),
    )


def steer(
    context: typer.Context,
    task_id: IdArgument,
    messages: Annotated[list[str], typer.Argument(metavar="TEXT", help="What it shall read before its next turn.")],
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Put messages before an agent's next turn."""
    return each_id(context, store, [task_id], "steered", format, lambda client, each: client.steer_task(each, messages))


def _once(
    context: typer.Context,
    store: str | None,
    task_id: str,
    call: str,
    format: Format,
    done: str,
    act: Callable[[Client], Awaitable[bool]],
) -> ExitCode:
    """Does `act`, which tells whether it was the first."""
    from tenuto.errors import Conflict

    async def decide(client: Client, _: str) -> None:
        if not await act(client):
            raise Conflict(f"call {call!r} of task {task_id!r} was answered before: the first answer counts")

    return each_id(context, store, [task_id], done, format, decide)


def _login() -> str | None:
    """Who sits at the terminal."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
