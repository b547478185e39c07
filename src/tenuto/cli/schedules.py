"""`tenuto schedule`: rules that submit tasks at certain times."""

from __future__ import annotations

from typing import Annotated

import typer

from tenuto.cli.options import Format, FormatOption, StoreOption

__all__ = ["app"]

app = typer.Typer(help="List, put and delete schedules.", no_args_is_help=True)


@app.command("list", epilog="Examples:\n\n  tenuto schedule list")
def list_schedules(context: typer.Context, format: FormatOption = Format.TABLE, store: StoreOption = None) -> None:
    """List schedules with the next and the last time they fire."""
    from tenuto.cli import output
    from tenuto.cli.documents import schedule_document
    from tenuto.cli.session import with_client
    from tenuto.cli.times import relative, span
    from tenuto.tasks.clock import wall_clock

    found = with_client(context, store, lambda client: client.list_schedules())
    if format is Format.JSON:
        output.print_json({"schedules": [schedule_document(schedule) for schedule in found]})
        return
    now = wall_clock()
    columns = (
        output.Column("NAME"),
        output.Column("RULE"),
        output.Column("AGENT", rank=2, least=8),
        output.Column("NEXT"),
        output.Column("LAST", rank=1),
        output.Column("CATCH-UP", rank=3),
    )
    rows = [
        (
            each.name,
            f"{each.cron} {each.zone}" if each.cron is not None else f"every {span(each.every or 0)}",
            each.task.agent,
            "paused" if each.paused else relative(each.next_at, now) or "never",
            relative(each.last_at, now),
            each.catch_up.value,
        )
        for each in found
    ]
    output.print_table(output.console(), columns, rows, "No schedules.")


@app.command(
    epilog="Examples:\n\n  tenuto schedule put nightly --agent reporter --cron '0 3 * * *' --zone Europe/Berlin\n"
    '  tenuto schedule put pulse --agent ping --every 30s --payload \'{"host": "db"}\''
)
def put(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name; an existing schedule of this name is replaced.")],
    agent: Annotated[str, typer.Option("--agent", metavar="NAME", help="Who shall run its tasks.")],
    cron: Annotated[str | None, typer.Option("--cron", metavar="RULE", help="Minute hour day month weekday.")] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="TIME", help="Instead: 30s, 5m, 2h.")] = None,
    zone: Annotated[str, typer.Option("--zone", metavar="ZONE", help="The time zone of --cron, an IANA name.")] = "UTC",
    payload: Annotated[str, typer.Option("--payload", "-p", metavar="JSON", help="JSON, @file, or -.")] = "null",
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Whose tasks they are.")] = "",
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="For people.")] = "",
    catch_up: Annotated[
        str, typer.Option("--catch-up", metavar="latest|all|none", help="What to do about missed times.")
    ] = "latest",
    paused: Annotated[bool, typer.Option("--paused", help="Keep it, but fire nothing.")] = False,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """Create or replace a schedule."""
    from tenuto.cli import output
    from tenuto.cli.documents import schedule_document
    from tenuto.cli.parsing import json_value, seconds
    from tenuto.cli.session import with_client
    from tenuto.cli.specs import task_spec
    from tenuto.cli.times import relative
    from tenuto.tasks.clock import iso, wall_clock

    spec = task_spec(agent, owner, json_value(payload, "--payload"), title=title)
    interval = None if every is None else seconds(every, "--every")
    stored = with_client(
        context,
        store,
        lambda client: client.put_schedule(
            name, spec, cron=cron, every=interval, zone=zone, catch_up=catch_up, paused=paused
        ),
        create=True,
    )
    if format is Format.JSON:
        output.print_json(schedule_document(stored))
    elif stored.paused or stored.next_at is None:
        output.console().print(f"{name} is kept and fires nothing", soft_wrap=True)
    else:
        when = f"{relative(stored.next_at, wall_clock())}, at {iso(stored.next_at)}"
        output.console().print(f"{name} fires next {when}", soft_wrap=True)


@app.command(epilog="Examples:\n\n  tenuto schedule delete nightly")
def delete(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name.")],
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """Delete a schedule; the tasks that it has submitted stay."""
    from tenuto.cli import output
    from tenuto.cli.session import with_client

    with_client(context, store, lambda client: client.delete_schedule(name))
    if format is Format.JSON:
        output.print_json({"deleted": name})
    else:
        output.console().print(f"deleted {name}", soft_wrap=True)
