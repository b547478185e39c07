"""From a command to a client and back: which store, opened, used, closed, interrupted cleanly."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from tenuto.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from tenuto.client import Client

__all__ = ["file_of", "run_interruptibly", "store_url", "with_client"]

T = TypeVar("T")

_SQLITE = "sqlite:///"


def store_url(context: typer.Context, store: str | None) -> str:
    """The store to use: of the command, of the program, else the one that an `Orchestrator` would use here."""
    from tenuto.orchestrator import default_store

    chosen: str = store or context.find_root().obj or default_store()
    if "://" in chosen:
        return chosen
    if ":" in chosen and not Path(chosen).exists():
        raise InvalidInput(f"--store {chosen!r} is no URL and no file: write sqlite:///path/to/tenuto.db, or a path")
    return _SQLITE + chosen


def file_of(url: str) -> Path | None:
    """The file of a SQLite store; None for other engines."""
    return Path(url.removeprefix(_SQLITE).partition("?")[0]) if url.startswith(_SQLITE) else None


def with_client(
    context: typer.Context, store: str | None, work: Callable[[Client], Awaitable[T]], *, create: bool = False
) -> T:
    """Runs `work` with a client of the chosen store.

    Only with `create` a store is made where there is none; else that is `NotFound`.
    """
    url = store_url(context, store)
    file = file_of(url)
    try:
        missing = file is not None and not file.exists()
    except (OSError, ValueError) as error:
        raise InvalidInput(f"--store {url[:80]!r} cannot be a file name: {error}") from None
    if missing and not create:
        raise NotFound(f"there is no store at {file}: submit or run something first, or name another with --store")

    async def session() -> T:
        from tenuto.client import Client

        async with Client(url) as client:
            return await work(client)

    return run_interruptibly(session())


def run_interruptibly(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` on an event loop. SIGTERM ends it as Ctrl-C does: it is cancelled, cleans up, `KeyboardInterrupt`."""

    async def main() -> T:
        before = signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
        try:
            return await work
        finally:
            signal.signal(signal.SIGTERM, before)

    return asyncio.run(main())
