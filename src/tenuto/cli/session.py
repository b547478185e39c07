"""From a command to a client and back: which store, opened, used, closed, interrupted cleanly."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from tenuto.client import Client
    from tenuto.stores.base import Store

__all__ = ["chosen_store", "run_interruptibly", "store_url", "with_client"]

T = TypeVar("T")


def store_url(context: typer.Context, store: str | None) -> str:
    """The store to use: of the command, of the program, else the one that an `Orchestrator` would use here."""
    from tenuto.stores.environment import default_store

    chosen: str = store or context.find_root().obj or default_store()
    return chosen


def chosen_store(context: typer.Context, store: str | None) -> Store:
    """The store to use, not open."""
    from tenuto.stores import open_store

    return open_store(store_url(context, store))


def with_client(
    context: typer.Context, store: str | None, work: Callable[[Client], Awaitable[T]], *, create: bool = False
) -> T:
    """Runs `work` with a client of the chosen store; only with `create` a store is made where there is none."""

    async def session() -> T:
        from tenuto.client import Client

        opened = chosen_store(context, store)
        try:
            await opened.open(create=create)
            async with Client(opened) as client:
                return await work(client)
        finally:
            await opened.close()

    return run_interruptibly(session())


def run_interruptibly(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` on an event loop. SIGTERM ends it as Ctrl-C does: it is cancelled, cleans up, `KeyboardInterrupt`."""

    async def main() -> T:
        interrupt = signal.getsignal(signal.SIGINT)
        # Jobs in the background of a shell script are started with SIGINT ignored; that is not meant for SIGTERM.
        before = signal.signal(signal.SIGTERM, interrupt if callable(interrupt) else signal.default_int_handler)
        try:
            return await work
        finally:
            signal.signal(signal.SIGTERM, before)

    return asyncio.run(main())
