"""`tenuto store`: what a store holds, whether it is sound, bringing it up to date, removing what is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenuto.cli.errors import ExitCode
from tenuto.cli.options import Format, FormatOption, StatesOption, StoreOption, YesOption

if TYPE_CHECKING:
    from tenuto.client import Client
    from tenuto.stores.base import Maintained

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
    """Check the store and everything in it; exit code 1 when something is damaged. Changes nothing."""
    from tenuto.cli import output
    from tenuto.cli.session import run_interruptibly
    from tenuto.errors import StoreCorrupt

    kept = _maintained(context, store)
    try:
        with output.errors_console().status(f"Reading {kept.url}"):
            damage = run_interruptibly(kept.check())
    except StoreCorrupt as error:
        damage = [str(error)]
    if format is Format.JSON:
        output.print_json({"store": kept.url, "sound": not damage, "damage": damage})
    else:
        out = output.console()
        for line in damage:
            out.print(output.plain(line), soft_wrap=True)
        out.print("Damaged." if damage else "Sound.")
    return ExitCode.FAILED if damage else ExitCode.OK


@app.command(epilog="Examples:\n\n  tenuto store migrate")
def migrate(context: typer.Context, format: FormatOption = Format.TABLE, store: StoreOption = None) -> None:
    """Bring the store's schema up to date, or make it where there is none. Whatever opens a store does the first."""
    from tenuto.cli import output
    from tenuto.cli.session import run_interruptibly
    from tenuto.errors import NotFound

    kept = _maintained(context, store)

    async def schema() -> int | None:
        try:
            found: int | None = (await kept.info()).get("schema")
        except NotFound:
            return 0
        return found

    async def schemas() -> tuple[int | None, int | None]:
        before = await schema()
        if before is None:
            return None, None
        try:
            await kept.open()
        finally:
            await kept.close()
        return before, await schema()

    before, after = run_interruptibly(schemas())
    if format is Format.JSON:
        output.print_json({"store": kept.url, "before": before, "after": after})
    elif after is None:
        output.console().print("There is nothing to migrate: what this server keeps has no schema.")
    elif before != after:
        output.console().print(f"Schema {before} is now {after}.")
    else:
        output.console().print(f"The schema is up to date: {after}.")


@app.command(epilog="Examples:\n\n  tenuto store purge --older-than 7d --yes && tenuto store compact")
def compact(context: typer.Context, format: FormatOption = Format.TABLE, store: StoreOption = None) -> None:
    """Give the room that a purge has freed back to the disk. In a SQLite file, whoever writes waits meanwhile."""
    from tenuto.cli import output
    from tenuto.cli.session import run_interruptibly

    kept = _maintained(context, store)

    async def sizes() -> tuple[int, int]:
        before = await kept.info()
        await kept.compact()
        after = await kept.info()
        return before["bytes"], after["bytes"]

    with output.errors_console().status(f"Rewriting {kept.url}"):
        before, after = run_interruptibly(sizes())
    if format is Format.JSON:
        output.print_json({"store": kept.url, "bytes_before": before, "bytes_after": after})
    else:
        output.console().print(f"{before / 1_048_576:,.1f} MiB is now {after / 1_048_576:,.1f} MiB.")


@app.command(
    epilog="Examples:\n\n  tenuto store migrate --store postgresql://owner@host/db\n  "
    "tenuto store grant tenuto_worker --store postgresql://owner@host/db"
)
def grant(
    context: typer.Context,
    role: Annotated[str, typer.Argument(help="The role that workers and clients connect as.")],
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """Let a PostgreSQL role read and write the store's rows, and nothing else. To be run as the owner of the schema."""
    from tenuto.cli import output
    from tenuto.cli.session import store_url
    from tenuto.errors import InvalidInput
    from tenuto.stores import open_store

    url = store_url(context, store)
    shown = open_store(url).url
    if not shown.startswith(("postgresql:", "postgres:")):
        raise InvalidInput(f"{shown} has no roles: name a PostgreSQL store with --store")
    from tenuto.stores.postgres.roles import grant as give

    give(url, role)
    if format is Format.JSON:
        output.print_json({"store": shown, "role": role})
    else:
        output.console().print(output.plain(f"{role} can work with this store."))


def _maintained(context: typer.Context, store: str | None) -> Maintained:
    """The store, not open. Raises `InvalidInput` for an engine that keeps nothing."""
    from tenuto.cli.session import chosen_store
    from tenuto.errors import InvalidInput
    from tenuto.stores.base import Maintained

    chosen = chosen_store(context, store)
    if not isinstance(chosen, Maintained):
        raise InvalidInput(f"{chosen.url} keeps nothing that could be looked after: name another store with --store")
    return chosen


@app.command(
    epilog="Examples:\n\n  tenuto store purge --older-than 7d\n  tenuto store purge --older-than 1h --state done --yes"
)
def purge(
    context: typer.Context,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Only what ended longer ago: 30m, 12h, 7d.")
    ],
    state: StatesOption = None,
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
