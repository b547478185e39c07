"""`tenuto limit`: what tasks share by key, such as the rate of a provider's key or the slots of a printer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenuto.cli.options import Format, FormatOption, StoreOption

if TYPE_CHECKING:
    from tenuto.client import Client
    from tenuto.stores.base import LimitUse

__all__ = ["app"]

app = typer.Typer(help="List, put and drop limits that tasks share by key.", no_args_is_help=True)

KeyArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        help="What tasks name in their limits. Agents name model:openai for requests, model:openai:tokens for tokens.",
    ),
]


@app.command("list", epilog="Examples:\n\n  tenuto limit list\n  tenuto limit list model:")
def list_limits(
    context: typer.Context,
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Only keys that begin with it.")] = "",
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """List limits, and how much of each is used."""
    from tenuto.cli import output
    from tenuto.cli.session import with_client
    from tenuto.cli.times import relative, span
    from tenuto.tasks.clock import wall_clock

    found = [use for use in with_client(context, store, lambda client: client.limits()) if _begins(use, prefix)]
    if format is Format.JSON:
        output.print_json({"limits": [_document(use) for use in found]})
        return
    now = wall_clock()
    columns = (
        output.Column("KEY", least=12),
        output.Column("AT ONCE", right=True),
        output.Column("RUNNING", right=True, rank=2),
        output.Column("RATE", right=True),
        output.Column("BURST", right=True, rank=3),
        output.Column("NEXT", rank=1),
        output.Column("HELD BACK", right=True),
    )
    rows = [
        (
            use.limit.key,
            "" if use.limit.concurrency is None else f"{use.limit.concurrency:,}",
            f"{use.used:,}",
            "" if use.limit.rate is None else f"{use.limit.rate:,} per {span(use.limit.period)}",
            "" if use.limit.rate is None else f"{use.limit.burst:,}",
            relative(use.next_at, now) if use.next_at > now else "",
            f"{use.parked:,}",
        )
        for use in found
    ]
    output.print_table(output.console(), columns, rows, "No limits.")


@app.command(
    epilog="Examples:\n\n  tenuto limit put model:openai --rate 600 --per 1m\n"
    "  tenuto limit put model:openai:tokens --rate 200000 --per 1m --burst 50000\n"
    "  tenuto limit put printer --concurrency 1"
)
def put(
    context: typer.Context,
    key: KeyArgument,
    concurrency: Annotated[int | None, typer.Option("--concurrency", help="At most so many at once.")] = None,
    rate: Annotated[int | None, typer.Option("--rate", help="At most so many in the time that --per says.")] = None,
    per: Annotated[str, typer.Option("--per", metavar="TIME", help="For --rate: 1s, 1m, 1h.")] = "1s",
    burst: Annotated[
        int, typer.Option("--burst", help="So many may follow each other at once; for tokens, the most of one call.")
    ] = 1,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """Create or replace a limit, for everybody at once."""
    from tenuto.cli import output
    from tenuto.cli.parsing import seconds
    from tenuto.cli.session import with_client
    from tenuto.cli.times import span
    from tenuto.errors import InvalidInput

    if concurrency is None and rate is None:
        raise InvalidInput(f"limit {key!r} limits nothing: give --concurrency, --rate, or both")
    period = seconds(per, "--per")

    async def work(client: Client) -> LimitUse:
        await client.put_limit(key, concurrency=concurrency, rate=rate, per=period, burst=burst)
        return next(use for use in await client.limits() if use.limit.key == key)

    use = with_client(context, store, work, create=True)
    if format is Format.JSON:
        output.print_json(_document(use))
        return
    allowed = [] if concurrency is None else [f"{concurrency:,} at once"]
    allowed += [] if rate is None else [f"{rate:,} per {span(use.limit.period)}, {burst:,} together"]
    output.console().print(f"{key} allows {' and '.join(allowed)}", soft_wrap=True)


@app.command(epilog="Examples:\n\n  tenuto limit drop model:openai")
def drop(
    context: typer.Context, key: KeyArgument, format: FormatOption = Format.TABLE, store: StoreOption = None
) -> None:
    """Drop a limit; what it held back goes on."""
    from tenuto.cli import output
    from tenuto.cli.session import with_client

    with_client(context, store, lambda client: client.drop_limit(key))
    if format is Format.JSON:
        output.print_json({"dropped": key})
    else:
        output.console().print(f"dropped {key}", soft_wrap=True)


def _begins(use: LimitUse, prefix: str) -> bool:
    return use.limit.key.startswith(prefix)


def _document(use: LimitUse) -> dict[str, Any]:
    from tenuto.tasks.clock import iso

    limit = use.limit
    return {
        "key": limit.key,
        "concurrency": limit.concurrency,
        "rate": limit.rate,
        "per_seconds": limit.period / 1000,
        "burst": limit.burst,
        "running": use.used,
        "held_back": use.parked,
        "next_at": iso(use.next_at) if use.next_at else None,
    }
