"""A feed reader that is cut off again and again, and goes on behind the cursor that it saved last.

    python -m tests.chaos.reader --store URL --number N [--to-end]

Those of an odd number read pages of the store's feed, the others follow it through the client, as a program would. One
that gets no answer begins another incarnation, at the saved cursor. Events are written down before the cursor is saved:
what was read twice is seen twice, and nothing is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from tenuto.client import Client
from tenuto.errors import StoreError
from tenuto.stores import open_store
from tenuto.stores.base import Store
from tenuto.tasks.event import Event
from tenuto.workers.patience import passes
from tests.chaos.ledger import Lines

__all__ = ["Notebook", "main"]

_BATCH = 10
_SAVED_EVERY = 4


class Notebook:
    """The events that one incarnation has read, and the cursor behind the last of them."""

    def __init__(self, folder: Path, number: int, incarnation: int) -> None:
        self._events = Lines(folder / "feed" / f"{number:04}-{incarnation:04}.jsonl")
        self._cursor = folder / "feed" / "cursor"
        self._kept = 0

    @property
    def cursor(self) -> str | None:
        return self._cursor.read_text(encoding="utf-8") if self._cursor.exists() else None

    def keep(self, events: Sequence[Event], cursor: str) -> None:
        """Writes `events` down; the cursor behind them only now and then."""
        self._events.add(*events)
        self._kept += 1
        if self._kept % _SAVED_EVERY:
            return  # so that a kill costs something: these are read again
        fresh = self._cursor.with_suffix(".new")
        fresh.write_text(cursor, encoding="utf-8")
        fresh.replace(self._cursor)


async def _pages(store: Store, notebook: Notebook, to_end: bool) -> None:
    cursor = notebook.cursor
    while True:
        page = await store.events(cursor, limit=200)
        cursor = page.cursor
        if page.events:
            notebook.keep(page.events, cursor)
        elif to_end:
            return
        else:
            await asyncio.sleep(0.02)


async def _updates(store: Store, notebook: Notebook) -> None:
    batch: list[Event] = []
    async for event in Client(store).subscribe_to_updates(after=notebook.cursor):
        batch.append(event)
        if len(batch) == _BATCH:
            notebook.keep(batch, event.cursor)
            batch = []


async def _read(url: str, notebook: Notebook, number: int, to_end: bool) -> None:
    store = open_store(url)
    await store.open()
    try:
        if to_end or number % 2:
            await _pages(store, notebook, to_end)
        else:
            await _updates(store, notebook)
    finally:
        await store.close()


async def main(url: str, number: int, to_end: bool) -> None:
    folder = Path(os.environ["TENUTO_CHAOS_FOLDER"])
    for incarnation in itertools.count():
        notebook = Notebook(folder, number, incarnation)
        try:
            await _read(url, notebook, number, to_end)
            return
        except StoreError as error:
            if not passes(error):
                raise
            print(error)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--to-end", action="store_true")
    given = parser.parse_args()
    asyncio.run(main(given.store, given.number, given.to_end))
