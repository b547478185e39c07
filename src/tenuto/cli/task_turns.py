"""`tenuto task`: the conversation of an agent that works in turns: what is said, what was said, a new task from a turn
of it, and what the agent's present code makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenuto.cli.errors import ExitCode
from tenuto.cli.options import Format, FormatOption, StoreOption

if TYPE_CHECKING:
    from tenuto.agents.llm.replay import Replay
    from tenuto.client import Client
    from tenuto.tasks.turns import Turn

__all__ = ["register"]

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The task's id, or the beginning or end of it.")]


def register(app: typer.Typer) -> None:
    """Adds the verbs to `tenuto task`."""
    app.command(epilog="Examples:\n\n  tenuto task watch task-0199\n  tenuto task watch task-0199 --after now")(watch)
    app.command(
        epilog="Examples:\n\n  tenuto task messages task-0199\n"
        "  tenuto task messages task-0199 --format json | jq '.turns\\[-1].response.parts'"
    )(messages)
    app.command(
        epilog="Examples:\n\n  tenuto task fork task-0199… --turn 3\n"
        '  tenuto task fork task-0199… --turn 3 --message "Use the other supplier."\n'
        "  tenuto task fork task-0199… --turn 0 --payload '{\"customer\": 18}'"
    )(fork)
    app.command(
        epilog="Examples:\n\n  tenuto task replay task-0199\n"
        "  tenuto task replay task-0199 --agents shop:buyer    # exit code 1 where the code departs from the record"
    )(replay)


def watch(
    context: typer.Context,
    task_id: IdArgument,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CURSOR", help="Only what comes later; `now`: only what is new.")
    ] = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Read along until the task has ended: what a model says while it says it, where its agent streams, else by turn.

    With --format json: one event per line, as `tenuto task events` shows them.
    """
    from tenuto.cli.reading_along import read_along
    from tenuto.cli.session import with_client

    return with_client(context, store, lambda client: read_along(client, task_id, after, format))


def messages(
    context: typer.Context, task_id: IdArgument, format: FormatOption = Format.TABLE, store: StoreOption = None
) -> None:
    """Show the conversation of a task: what was said in each turn, the tools that were called, tokens and cost."""
    from tenuto.cli import output
    from tenuto.cli.conversation import print_turns, turn_document
    from tenuto.cli.session import with_client

    whole, turns = with_client(context, store, lambda client: _read(client, task_id))
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


def replay(
    context: typer.Context,
    task_id: IdArgument,
    agents: Annotated[
        list[str] | None,
        typer.Option("--agents", "-a", metavar="MODULE[:NAME]", help="Where the task's agent is found. Repeatable."),
    ] = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Run what was recorded of a task through its agent's present code: no model is asked, no tool runs.

    Turn by turn it shows what was said, and where the code does not do any more what is on record; then what the model
    would be asked otherwise: by other instructions, other tools, other forms of output. Changes nothing.
    Without --agents it shows the conversation.
    """
    from tenuto.cli import output
    from tenuto.cli.conversation import print_turns, turn_document
    from tenuto.cli.session import with_client

    async def run(client: Client) -> tuple[str, list[Turn], Replay | None]:
        whole, turns = await _read(client, task_id)
        return whole, turns, await _replayed(client, whole, agents) if agents else None

    whole, turns, found = with_client(context, store, run)
    if format is Format.JSON:
        told = [turn_document(turn) | {"request": None, "departures": None} for turn in turns]
        for at, turn in enumerate(() if found is None else found.turns):
            told[at] |= {"request": turn.request, "departures": turn.departures}
        output.print_json({"task_id": whole, "turns": told})
    elif found is None:
        print_turns(turns)
    else:
        print_turns(turns, [turn.departures for turn in found.turns], found.requests)
        if not found.departs:
            output.console().print("The present code does what is on record.")
    return ExitCode.FAILED if found is not None and found.departs else ExitCode.OK


async def _read(client: Client, task_id: str) -> tuple[str, list[Turn]]:
    from tenuto.cli.ids import full_id

    whole = await full_id(client, task_id)
    return whole, await client.get_turns(whole)


async def _replayed(client: Client, task_id: str, references: list[str]) -> Replay:
    """The task's record through the agent among `references` that it is addressed to."""
    from tenuto.agents.llm.agent import Agent
    from tenuto.agents.llm.replay import replay_task
    from tenuto.cli.loading import load_agents
    from tenuto.errors import InvalidInput

    task = await client.store.task(task_id)
    name = "" if task is None else task.agent
    agent = next((each for each in load_agents(references) if each.name == name), None)
    if not isinstance(agent, Agent):
        what = "is not one that works in turns" if agent else "is not there"
        raise InvalidInput(f"--agents: task {task_id!r} is one of agent {name!r}, which {what}")
    return await replay_task(client.store, task_id, agent)
