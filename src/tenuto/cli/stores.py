"""`tenuto store`: what a store holds, whether it is sound, bringing it up to date, removing what is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenuto.cli.errors import ExitCode
from tenuto.cli.options import Format, FormatOption, StoreOption, YesOption

if TYPE_CHECKING:
    from tenuto.client import Client
    from tenuto.stores.sqlite.inspection import FileFacts

__all__ = ["app"]

app = typer.Typer(help="Look after the store.", no_args_is_help=True)


@app.command(epilog="Examples:\n\n  tenuto store info\n  tenuto store info --format json | jq .tasks.failed")
def info(context: typer.Context, format: FormatOption = Format.TABLE, store: StoreOption = None) -> None:
    """Show where the store is and what it holds: tasks by state, agents, workers, limits."""
    from tenuto.cli import output
    from tenuto.cli.session import with_client
    from tenuto.cli.store_page import print_store_page, read_store_page

    page = with_client(context, store, read_store_page)
    if format is Format.JSON:
        output.print_json(page.document())
    else:
        print_store_page(page)


@app.command(epilog="Examples:\n\n  tenuto store check && echo sound")
def check(context: typer.Context, format: FormatOption = Format.TABLE, store: StoreOption = None) -> ExitCode:
    """Check the file and everything in it; exit code 1 when something is damaged. Changes nothing."""
    from tenuto.cli import output
    from tenuto.cli.progress import counting
    from tenuto.cli.session import file_of, store_url, with_client
    from tenuto.stores.checking import check_store
    from tenuto.stores.sqlite.inspection import file_damage

    file = file_of(store_url(context, store))

    async def look(client: Client) -> tuple[int, list[str]]:
        total = sum((await client.stats()).values())
        with counting("Checking", total) as seen:
            found = await check_store(client.store, seen.add)
        return seen.count, found

    damage: list[str] = []
    if file is not None and file.exists():
        with output.errors_console().status("Reading the file"):
            damage = file_damage(file)
    checked, found = (0, []) if damage else with_client(context, store, look)
    damage += found
    if format is Format.JSON:
        output.print_json({"sound": not damage, "checked": checked, "damage": damage})
    else:
        out = output.console()
        for line in damage:
            out.print(output.plain(line), soft_wrap=True)
        out.print(f"{len(damage)} problems found." if damage else f"Sound: {checked:,} tasks and goals checked.")
    return ExitCode.FAILED if damage else ExitCode.OK


@app.command(epilog="Examples:\n\n  tenuto store migrate")
def migrate(context: typer.Context, format: FormatOption = Format.TABLE, store: StoreOption = None) -> None:
    """Bring the store's schema up to date. Every other command does the same when it opens the store."""
    from tenuto.cli import output
    from tenuto.cli.session import file_of, store_url, with_client
    from tenuto.stores.sqlite.inspection import inspect_file

    file = file_of(store_url(context, store))
    before = None if file is None or not file.exists() else inspect_file(file)

    async def opened(client: Client) -> str:
        return client.store.url

    url = with_client(context, store, opened)
    after = None if file is None else inspect_file(file)
    if format is Format.JSON:
        output.print_json({"store": url, "before": _schema(before), "after": _schema(after)})
    elif before is not None and after is not None and before.schema != after.schema:
        output.console().print(f"Schema {before.schema} is now {after.schema}.")
    else:
        output.console().print("The schema is up to date.")


def _schema(facts: FileFacts | None) -> int | None:
    return None if facts is None else facts.schema


@app.command(
    epilog="Examples:\n\n  tenuto store purge --older-than 7d\n  tenuto store purge --older-than 1h --state done --yes"
)
def purge(
    context: typer.Context,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Only what ended longer ago: 30m, 12h, 7d.")
    ],
    state: Annotated[
        list[str] | None, typer.Option("--state", "-s", help="Only what ended so: done, failed, cancelled.")
    ] = None,
    yes: YesOption = False,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """Remove tasks and goals that ended some time ago, with their journals and events. For good."""
    from datetime import UTC, datetime, timedelta

    from tenuto.cli import output
    from tenuto.cli.confirming import confirm
    from tenuto.cli.parsing import seconds
    from tenuto.cli.progress import counting
    from tenuto.cli.session import with_client

    before = datetime.now(UTC) - timedelta(seconds=seconds(older_than, "--older-than"))
    which = " or ".join(state) if state else "finished"
    confirm(f"Remove everything that is {which} since before {before:%Y-%m-%d %H:%M:%S} UTC, for good?", yes)
    batch = 500

    async def remove(client: Client) -> int:
        with counting("Removing", None) as removed:
            while True:
                count = await client.purge(before, states=state or (), limit=batch)
                removed.add(count)
                if count < batch:
                    return removed.count

    count = with_client(context, store, remove)
    document: dict[str, Any] = {"removed": count, "before": before.isoformat().replace("+00:00", "Z")}
    if format is Format.JSON:
        output.print_json(document)
    else:
        output.console().print(f"Removed {count:,} task trees.")
