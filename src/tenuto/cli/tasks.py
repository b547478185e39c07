"""`tenuto task`: looking at tasks. The verbs that change something are in `task_verbs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tenuto.cli import spending, task_answers, task_turns, task_verbs
from tenuto.cli.errors import ExitCode
from tenuto.cli.options import (
    AgentFilter,
    CursorOption,
    Format,
    FormatOption,
    LimitOption,
    OwnerFilter,
    StatesOption,
    StoreOption,
    TagFilter,
)

if TYPE_CHECKING:
    from tenuto.client import Client
    from tenuto.tasks.event import Event

__all__ = ["app"]

app = typer.Typer(help="List, inspect, wait for and direct tasks.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The task's id, or the beginning or end of it.")]


@app.command(
    "list",
    epilog="Examples:\n\n  tenuto task list\n  tenuto task list --state failed --agent writer\n"
    "  tenuto task list --state running --state ready --limit 10\n"
    "  tenuto task list --format json | jq -r '.tasks\\[].id'",
)
def list_tasks(
    context: typer.Context,
    state: StatesOption = None,
    agent: AgentFilter = None,
    owner: OwnerFilter = None,
    tag: TagFilter = None,
    root: Annotated[
        str | None, typer.Option("--root", metavar="ID", help="Only of this tree: a goal or root task.")
    ] = None,
    roots_only: Annotated[bool, typer.Option("--roots-only", help="Leave out nodes and children.")] = False,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """List tasks, newest first; goals are in `tenuto goal list`."""
    from tenuto.cli import output
    from tenuto.cli.documents import task_document
    from tenuto.cli.session import with_client
    from tenuto.cli.task_table import print_tasks
    from tenuto.client import Page

    async def read(client: Client) -> Page:
        return await client.list_tasks(
            states=state or (),
            agent=agent,
            owner_id=owner,
            tag=tag,
            root=root,
            goals=False,
            roots_only=roots_only,
            cursor=cursor,
            limit=limit,
        )

    page = with_client(context, store, read)
    stored = [each.stored for each in page.tasks]
    if format is Format.JSON:
        output.print_json({"tasks": [task_document(task) for task in stored], "cursor": page.cursor})
        return
    print_tasks(stored, "No tasks." if not (state or agent or owner or tag or root) else "No tasks like that.")
    if page.cursor is not None:
        output.remark(f"There are more: add --cursor {page.cursor}, or raise --limit.")


@app.command(
    epilog="Examples:\n\n  tenuto task show task-0199\n  tenuto task show scan --format json | jq .result",
)
def show(
    context: typer.Context, task_id: IdArgument, format: FormatOption = Format.TABLE, store: StoreOption = None
) -> None:
    """Show everything about a task: state, values, errors, journal, inbox."""
    from tenuto.cli import output
    from tenuto.cli.session import with_client
    from tenuto.cli.task_page import print_task_page, read_task_page

    page = with_client(context, store, lambda client: read_task_page(client, task_id))
    if format is Format.JSON:
        output.print_json(page.document())
    else:
        print_task_page(page)


@app.command(epilog="Examples:\n\n  tenuto task why task-0199")
def why(
    context: typer.Context, task_id: IdArgument, format: FormatOption = Format.TABLE, store: StoreOption = None
) -> None:
    """Say why a task does not run, and until when."""
    from tenuto.cli import output
    from tenuto.cli.documents import why_document
    from tenuto.cli.ids import full_id
    from tenuto.cli.session import with_client
    from tenuto.cli.times import relative
    from tenuto.stores.base import Why
    from tenuto.tasks.clock import iso, wall_clock

    async def read(client: Client) -> Why:
        return await client.why(await full_id(client, task_id))

    told = with_client(context, store, read)
    if format is Format.JSON:
        output.print_json(why_document(told))
        return
    out = output.console()
    out.print(output.state_text(told.state), told.task_id, soft_wrap=True)
    for sentence in told.because:
        out.print(output.plain(sentence), soft_wrap=True)
    if told.until is not None:
        now = wall_clock()
        when = f"{relative(told.until, now)}, at {iso(told.until)}"
        late = "That was due {}: it happens as soon as a worker, of whatever agents, looks after the store."
        out.print(
            late.format(when) if now - told.until >= 1_000 else f"That can change by itself {when}.", soft_wrap=True
        )


@app.command(
    epilog="Examples:\n\n  tenuto task wait report --timeout 5m\n"
    '  tenuto task wait "$ID" --format json | jq .result\n'
    "  tenuto task wait report && echo done     # exit codes: 0 done, 1 failed, 4 cancelled, 5 timeout",
)
def wait(
    context: typer.Context,
    task_id: IdArgument,
    timeout: Annotated[
        str | None, typer.Option("--timeout", "-t", metavar="TIME", help="At most so long: seconds, or 30s, 5m, 2h.")
    ] = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Wait until a task or goal has ended; its result goes to standard output."""
    from tenuto.cli.parsing import seconds
    from tenuto.cli.session import with_client
    from tenuto.cli.waiting import wait_for

    limit = None if timeout is None else seconds(timeout, "--timeout")
    return with_client(context, store, lambda client: wait_for(client, task_id, limit, format))


@app.command(
    epilog="Examples:\n\n  tenuto task events task-0199\n  tenuto task events --follow --after now\n"
    "  tenuto task events review --tree --kind failed --format json",
)
def events(
    context: typer.Context,
    task_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="The task's id, or a part of it; without: of all tasks.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new events until the task has ended, or Ctrl-C.")
    ] = False,
    tree: Annotated[bool, typer.Option("--tree", help="Also those of all tasks of the same tree.")] = False,
    owner: OwnerFilter = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Only this kind, such as failed, or tokens of an agent that streams. Repeatable.",
        ),
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CURSOR", help="Only later ones; `now`: only new ones.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000_000, help="At most so many.")] = 1_000,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """Show what happened to tasks, oldest first. With --follow and --format json: one JSON document per line.

    It is kept in the store. What has happened to the agents of a running orchestrator: `tenuto history`.
    """
    from tenuto.cli import output
    from tenuto.cli.documents import event_document
    from tenuto.cli.feed import Wanted, follow_events, print_event, read_events
    from tenuto.cli.session import with_client

    wanted = Wanted.of(task_id, tree, owner, kind or [], after)
    if follow:

        def told(event: Event) -> None:
            if format is Format.JSON:
                output.print_json_line(event_document(event))
            else:
                print_event(event)

        with_client(context, store, lambda client: follow_events(client, wanted, told))
        return
    found, cursor = with_client(context, store, lambda client: read_events(client, wanted, limit))
    if format is Format.JSON:
        output.print_json({"events": [event_document(event) for event in found], "cursor": cursor})
        return
    for event in found:
        print_event(event)
    if not found:
        output.console().print("No events.")
    elif len(found) == limit:
        output.remark(f"There may be more: add --after {cursor}, or raise --limit.")


task_verbs.register(app)
task_answers.register(app)
task_turns.register(app)
spending.register(app)
