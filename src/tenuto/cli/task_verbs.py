"""`tenuto task`: the verbs that change something. They take whole ids, and answer for each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tenuto.cli.errors import ExitCode
from tenuto.cli.options import AgentFilter, Format, FormatOption, OwnerFilter, StoreOption, TagFilter, YesOption

if TYPE_CHECKING:
    from tenuto.client import Client

__all__ = ["each_id", "register"]

IdsArgument = Annotated[list[str], typer.Argument(metavar="ID", help="Whole ids of tasks or goals.")]


class Resolution(StrEnum):
    """What became of a step that may run only once."""

    DONE = "done"
    RETRY = "retry"
    FAIL = "fail"


ReasonOption = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for people.")]


def register(app: typer.Typer) -> None:
    """Adds the verbs to `tenuto task`."""
    app.command(epilog='Examples:\n\n  tenuto task cancel task-0199… --reason "not needed"')(cancel)
    app.command(epilog="Examples:\n\n  tenuto task pause report")(pause)
    app.command(epilog="Examples:\n\n  tenuto task resume report")(resume)
    app.command(
        epilog="Examples:\n\n  tenuto task retry report\n  tenuto task retry report --fresh\n"
        "  tenuto task retry --all-failed --agent writer --yes"
    )(retry)
    app.command(
        epilog="Examples:\n\n  tenuto task resolve pay-1 charge#0 done --value '{\"receipt\": 7}'\n"
        "  tenuto task resolve pay-1 charge#0 retry"
    )(resolve)
    app.command(
        epilog='Examples:\n\n  tenuto task submit writer --payload \'{"topic": "rivers"}\'\n'
        "  tenuto task submit writer --payload @topic.json --id rivers --delay 10m\n"
        "  ID=$(tenuto task submit writer --payload 1) && tenuto task wait $ID"
    )(submit)


def each_id(
    context: typer.Context,
    store: str | None,
    ids: list[str],
    done: str,
    format: Format,
    act: Callable[[Client, str], Awaitable[None]],
) -> ExitCode:
    """Does `act` to each id; what fails is told, and the first failure is the exit code."""
    from tenuto.cli import output
    from tenuto.cli.errors import complain, exit_code_of, one_line
    from tenuto.cli.session import with_client
    from tenuto.errors import StoreError, TenutoError

    async def all_of_them(client: Client) -> dict[str, TenutoError | None]:
        ends: dict[str, TenutoError | None] = {}
        for task_id in dict.fromkeys(ids):
            try:
                await act(client, task_id)
                ends[task_id] = None
            except StoreError:
                raise
            except TenutoError as error:
                ends[task_id] = error
        return ends

    ends = with_client(context, store, all_of_them)
    failed = [error for error in ends.values() if error is not None]
    if format is Format.JSON:
        output.print_json(
            {
                done: [task_id for task_id, error in ends.items() if error is None],
                "refused": {task_id: one_line(error) for task_id, error in ends.items() if error is not None},
            }
        )
    else:
        for task_id, error in ends.items():
            if error is None:
                output.console().print(f"{done} {task_id}", soft_wrap=True)
    for error in failed:
        complain(error)
    return exit_code_of(failed[0]) if failed else ExitCode.OK


def cancel(
    context: typer.Context,
    ids: IdsArgument,
    reason: ReasonOption = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Cancel tasks or goals, with everything below them. Final at once."""
    return each_id(context, store, ids, "cancelled", format, lambda client, each: client.cancel_task(each, reason))


def pause(
    context: typer.Context,
    ids: IdsArgument,
    reason: ReasonOption = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Hold tasks or goals; a running one stops at its next step."""
    return each_id(context, store, ids, "paused", format, lambda client, each: client.pause_task(each, reason))


def resume(
    context: typer.Context, ids: IdsArgument, format: FormatOption = Format.TABLE, store: StoreOption = None
) -> ExitCode:
    """Let paused tasks or goals go on."""
    return each_id(context, store, ids, "resumed", format, lambda client, each: client.resume_task(each))


def retry(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Whole ids of tasks or goals.")] = None,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="All failed tasks: the dead letters.")] = False,
    agent: AgentFilter = None,
    owner: OwnerFilter = None,
    tag: TagFilter = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget recorded steps: begin from the start.")] = False,
    yes: YesOption = False,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Run finished tasks again; a failed goal goes on from where it failed."""
    from tenuto.errors import InvalidInput

    if all_failed == bool(ids):
        raise InvalidInput("give either the ids of what to retry, or --all-failed")
    if ids:
        if agent or owner or tag:
            raise InvalidInput("--agent, --owner and --tag choose among the failed tasks: use them with --all-failed")
        return each_id(
            context, store, ids, "retried", format, lambda client, each: client.retry_task(each, fresh=fresh)
        )
    return _retry_failed(context, store, agent, owner, tag, fresh, yes, format)


def _retry_failed(
    context: typer.Context,
    store: str | None,
    agent: str | None,
    owner: str | None,
    tag: str | None,
    fresh: bool,
    yes: bool,
    format: Format,
) -> ExitCode:
    from tenuto.cli import output
    from tenuto.cli.confirming import confirm
    from tenuto.cli.session import with_client

    async def count(client: Client) -> int:
        found, cursor = 0, None
        while True:
            page = await client.list_tasks(
                states=["failed"], agent=agent, owner_id=owner, tag=tag, goals=False, cursor=cursor, limit=1_000
            )
            found, cursor = found + len(page), page.cursor
            if cursor is None:
                return found

    failed = with_client(context, store, count)
    if failed:
        confirm(f"Retry {failed:,} failed task{'s' if failed > 1 else ''}?", yes)

    async def again(client: Client) -> int:
        with output.errors_console().status(f"Retrying {failed:,} tasks"):
            return await client.retry_failed(agent=agent, owner_id=owner, tag=tag, fresh=fresh)

    retried = with_client(context, store, again) if failed else 0
    if format is Format.JSON:
        output.print_json({"failed": failed, "retried": retried})
    else:
        output.console().print(
            f"{failed:,} failed tasks, {retried:,} tasks and goals run again" if failed else "No failed tasks."
        )
    return ExitCode.OK


def resolve(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The task's whole id.")],
    step: Annotated[str, typer.Argument(metavar="STEP", help="The step's key, as `tenuto task show` shows it.")],
    how: Annotated[Resolution, typer.Argument(help="What a person found out.")],
    value: Annotated[
        str | None,
        typer.Option("--value", metavar="JSON", help="done: the step's result. fail: the message. Also @file."),
    ] = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Decide about a step that may run only once, and whose outcome is unknown or has ended its task."""
    from tenuto.cli.parsing import json_value

    told = None if value is None else json_value(value, "--value")
    return each_id(
        context,
        store,
        [task_id],
        "resolved",
        format,
        lambda client, each: client.resolve_step(each, step, how.value, told),
    )


def submit(
    context: typer.Context,
    agent: Annotated[str, typer.Argument(help="The name of the agent that shall run it.")],
    payload: Annotated[
        str, typer.Option("--payload", "-p", metavar="JSON", help="JSON, @file, or - for standard input.")
    ] = "null",
    id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Its id; the same id twice is one task.")] = None,
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="For people.")] = "",
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Whose task it is.")] = "",
    priority: Annotated[int, typer.Option("--priority", help="Larger first, inside an owner.")] = 0,
    delay: Annotated[
        str | None, typer.Option("--delay", metavar="TIME", help="Not before 30s, 5m, 2h from now.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="WHEN", help="Not before this instant, ISO 8601.")] = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", metavar="WHEN", help="Fails then: ISO 8601, or +2h.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="At most so long from its first start to its end.")
    ] = None,
    max_retries: Annotated[
        int | None, typer.Option("--max-retries", help="Retries after the first attempt. Default: 5.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Idempotency key: twice is one task.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="May be given several times.")] = None,
    limit: Annotated[list[str] | None, typer.Option("--limit", metavar="KEY", help="A limit it is subject to.")] = None,
    metadata: Annotated[list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="For people.")] = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """Submit a task and print its id. It waits until a worker serves its agent."""
    from tenuto.cli import output
    from tenuto.cli.parsing import instant, json_value, pairs, seconds
    from tenuto.cli.session import with_client
    from tenuto.cli.specs import task_spec

    spec = task_spec(
        agent,
        owner,
        json_value(payload, "--payload"),
        id=id,
        title=title,
        priority=priority,
        delay=None if delay is None else seconds(delay, "--delay"),
        run_at=None if at is None else instant(at, "--at"),
        deadline=None if deadline is None else instant(deadline, "--deadline"),
        timeout=None if timeout is None else seconds(timeout, "--timeout"),
        max_retries=max_retries,
        idempotency_key=key,
        tags=tuple(tag or ()),
        limits=tuple(limit or ()),
        metadata=pairs(metadata or [], "--metadata"),
    )
    task_id = with_client(context, store, lambda client: client.enqueue_task(agent, spec), create=True)
    if format is Format.JSON:
        output.print_json({"id": task_id})
    else:
        output.console().print(task_id, soft_wrap=True)
