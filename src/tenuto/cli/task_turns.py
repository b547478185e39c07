"""`tenuto task`: the conversation of an agent that works in turns: what was said, and a new task from a turn of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenuto.cli.errors import ExitCode
from tenuto.cli.options import Format, FormatOption, StoreOption

if TYPE_CHECKING:
    from tenuto.client import Client
    from tenuto.tasks.turns import Turn

__all__ = ["register"]

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The task's id, or the beginning or end of it.")]


def register(app: typer.Typer) -> None:
    """Adds the verbs to `tenuto task`."""
    app.command(
        epilog="Examples:\n\n  tenuto task messages task-0199\n"
        "  tenuto task messages task-0199 --format json | jq '.turns\\[-1].response.parts'"
    )(messages)
    app.command(
        epilog="Examples:\n\n  tenuto task fork task-0199… --turn 3\n"
        '  tenuto task fork task-0199… --turn 3 --message "Use the other supplier."\n'
        "  tenuto task fork task-0199… --turn 0 --payload '{\"customer\": 18}'"
    )(fork)


def messages(
    context: typer.Context, task_id: IdArgument, format: FormatOption = Format.TABLE, store: StoreOption = None
) -> None:
    """Show the conversation of a task: what was said in each turn, the tools that were called, tokens and cost."""
    from tenuto.cli import output
    from tenuto.cli.conversation import print_turns, turn_document
    from tenuto.cli.ids import full_id
    from tenuto.cli.session import with_client

    async def read(client: Client) -> tuple[str, list[Turn]]:
        whole = await full_id(client, task_id)
        return whole, await client.get_turns(whole)

    whole, turns = with_client(context, store, read)
    if format is Format.JSON:
        output.print_json({"task_id": whole, "turns": [turn_document(turn) for turn in turns]})
    else:
        print_turns(turns)


def fork(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The task's whole id.")],
    turn: Annotated[int, typer.Option("--turn", "-n", metavar="N", help="The last turn that is kept; 0: none.")],
    message: Annotated[
        str | None, typer.Option("--message", "-m", metavar="TEXT", help="What the agent is told next.")
    ] = None,
    payload: Annotated[
        str | None,
        typer.Option("--payload", "-p", metavar="JSON", help="Fields of the payload that are to differ. Also @file."),
    ] = None,
    id: Annotated[str | None, typer.Option("--id", metavar="ID", help="The new task's id.")] = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Submit a new task that begins where another stood after one of its turns, and print its id."""
    from tenuto.cli import output
    from tenuto.cli.parsing import json_value
    from tenuto.cli.session import with_client

    changes: Any = None if payload is None else json_value(payload, "--payload")
    new = with_client(
        context, store, lambda client: client.fork_task(task_id, turn, message=message, payload=changes, id=id)
    )
    if format is Format.JSON:
        output.print_json({"id": new, "forked_from": {"task": task_id, "turn": turn}})
    else:
        output.console().print(new, soft_wrap=True)
    return ExitCode.OK
