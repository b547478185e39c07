"""`tenuto goal`: goals as lists, tables and pictures."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tenuto.cli.errors import ExitCode
from tenuto.cli.options import CursorOption, Format, FormatOption, LimitOption, OwnerFilter, StatesOption, StoreOption
from tenuto.cli.task_verbs import each_id

if TYPE_CHECKING:
    from tenuto.client import Client
    from tenuto.tasks.goal import Goal

__all__ = ["app"]

app = typer.Typer(help="List, show, draw, cancel and retry goals.", no_args_is_help=True)

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The goal's id, or the beginning or end of it.", show_default=False)
]
WholeIds = Annotated[list[str], typer.Argument(metavar="ID", help="Whole ids of goals.")]


class Picture(StrEnum):
    """How a goal is drawn."""

    TEXT = "text"
    MERMAID = "mermaid"
    JSON = "json"


@app.command("list", epilog="Examples:\n\n  tenuto goal list\n  tenuto goal list --state failed --format json")
def list_goals(
    context: typer.Context,
    state: StatesOption = None,
    owner: OwnerFilter = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """List goals, newest first."""
    from tenuto.cli import output
    from tenuto.cli.documents import task_document
    from tenuto.cli.session import with_client
    from tenuto.cli.task_table import print_goals
    from tenuto.client import Page

    async def read(client: Client) -> Page:
        return await client.list_tasks(states=state or (), owner_id=owner, goals=True, cursor=cursor, limit=limit)

    page = with_client(context, store, read)
    stored = [each.stored for each in page.tasks]
    if format is Format.JSON:
        output.print_json({"goals": [task_document(task) for task in stored], "cursor": page.cursor})
        return
    print_goals(stored, "No goals." if not (state or owner) else "No goals like that.")
    if page.cursor is not None:
        output.remark(f"There are more: add --cursor {page.cursor}, or raise --limit.")


@app.command(epilog="Examples:\n\n  tenuto goal show review\n  tenuto goal show review --format json | jq .nodes")
def show(
    context: typer.Context, goal_id: IdArgument, format: FormatOption = Format.TABLE, store: StoreOption = None
) -> None:
    """Show a goal and the table of its tasks."""
    from tenuto.cli import output
    from tenuto.cli.documents import goal_document
    from tenuto.cli.graph import headline
    from tenuto.cli.task_table import print_tasks
    from tenuto.tasks.clock import wall_clock

    goal = _read(context, store, goal_id)
    if format is Format.JSON:
        output.print_json(goal_document(goal))
        return
    output.console().print(headline(goal, wall_clock()), soft_wrap=True)
    print_tasks(goal.nodes, "It has no tasks.")


@app.command(
    epilog="Examples:\n\n  tenuto goal graph review\n  tenuto goal graph review --all | less -R\n"
    "  tenuto goal graph review --format mermaid > review.mmd"
)
def graph(
    context: typer.Context,
    goal_id: IdArgument,
    every: Annotated[bool, typer.Option("--all", help="Draw each task, also where many are alike.")] = False,
    format: Annotated[Picture, typer.Option("--format", help="For the terminal, documents, or programs.")] = (
        Picture.TEXT
    ),
    store: StoreOption = None,
) -> None:
    """Draw a goal: its tasks from first to last, their states, and what depends on what."""
    import sys

    from tenuto.cli import output
    from tenuto.cli.documents import goal_document
    from tenuto.cli.graph import draw_goal, mermaid
    from tenuto.tasks.clock import wall_clock

    goal = _read(context, store, goal_id)
    match format:
        case Picture.JSON:
            output.print_json(goal_document(goal))
        case Picture.MERMAID:
            sys.stdout.write(mermaid(goal))
        case Picture.TEXT:
            out = output.console()
            width, ascii_only = output.width_of(out), not output.writes_unicode(out)
            for line in draw_goal(goal, wall_clock(), width=width, every=every, ascii_only=ascii_only):
                out.print(line, soft_wrap=True)


@app.command(epilog='Examples:\n\n  tenuto goal cancel review --reason "asked for the wrong tree"')
def cancel(
    context: typer.Context,
    ids: WholeIds,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for people.")] = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Cancel goals and all their unfinished tasks."""

    async def act(client: Client, goal_id: str) -> None:
        await client.get_goal(goal_id)  # a task's id is refused
        await client.cancel_goal(goal_id, reason)

    return each_id(context, store, ids, "cancelled", format, act)


@app.command(epilog="Examples:\n\n  tenuto goal retry review")
def retry(
    context: typer.Context,
    ids: WholeIds,
    fresh: Annotated[bool, typer.Option("--fresh", help="Failed tasks forget their recorded steps.")] = False,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Let failed goals go on from where they failed; what is done stays done."""

    async def act(client: Client, goal_id: str) -> None:
        await client.get_goal(goal_id)
        await client.retry_goal(goal_id, fresh=fresh)

    return each_id(context, store, ids, "retried", format, act)


def _read(context: typer.Context, store: str | None, typed: str) -> Goal:
    from tenuto.cli.ids import full_id
    from tenuto.cli.session import with_client
    from tenuto.tasks.task import Kind

    async def read(client: Client) -> Goal:
        return await client.get_goal(await full_id(client, typed, Kind.GOAL))

    return with_client(context, store, read)
