"""`PostgresStore`: the store contract on a schema of a PostgreSQL database.

The rules answer every verb (`stores.rules`), over rows in SQL (`stores.rows`). Writes go to the writer's thread, where
those that wait at the same time share a transaction and its commit; reads go to a thread with a connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg

from tenuto.errors import StoreClosed, StoreError
from tenuto.stores.absent import no_store
from tenuto.stores.base import Delivered, Hint, Submission, Submitted, Swept, TimeToLive
from tenuto.stores.postgres import maintenance
from tenuto.stores.postgres.arrivals import deliver_beside_callers, rehearse, submit_beside_callers
from tenuto.stores.postgres.callers import Rehearsed, submit_inside
from tenuto.stores.postgres.connection import Address, connect
from tenuto.stores.postgres.errors import translate
from tenuto.stores.postgres.hints import Hints
from tenuto.stores.postgres.loans import Loans
from tenuto.stores.postgres.reader import Reader
from tenuto.stores.postgres.schema import migrate, version
from tenuto.stores.postgres.transact import CallersError, OwnTransaction, may_run
from tenuto.stores.postgres.writer import Writer
from tenuto.stores.rows import Clock, Rows
from tenuto.stores.rows.store import RowStore
from tenuto.stores.rules.sweep import sweep
from tenuto.stores.rules.work import Work
from tenuto.stores.tables import Tables
from tenuto.tasks.clock import Millis, wall_clock
from tenuto.tasks.goal import Tree
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Answer, Record, Recorded, Step
from tenuto.tasks.signal import Signal

__all__ = ["PostgresStore"]

T = TypeVar("T")

_inherited: list[object] = []
"""What a process got by a fork. It is never touched again: a thread of the parent may have been at work on it."""


class PostgresStore(RowStore):
    """A store in the database that `url` names."""

    def __init__(self, url: str, *, clock: Callable[[], Millis] = wall_clock) -> None:
        """`clock`: the wall clock stands for the server's; any other one is used as it is."""
        super().__init__()
        self._address = Address.of(url)
        self.url = self._address.url
        self._server_time = clock is wall_clock
        self._clock = Clock((lambda: 0) if self._server_time else clock)
        self._hints = Hints(self._address, self._look)
        self._loans = Loans(self._address)
        self._identity: str | None = None

    # -- opening and closing

    def _open(self, create: bool) -> None:
        if self._process != os.getpid():
            _inherited.extend([self._hints, self._loans, self._opening, self._writer, self._reader])
            self._hints = Hints(self._address, self._look)
            self._loans = Loans(self._address)
            self._opening = threading.Lock()
            self._writer = self._reader = None
            self._process = os.getpid()
        with self._opening:
            if self._writer is None:
                self._connect(create)
                self._hints.open()
                self._loans.open()

    def _connect(self, create: bool) -> None:
        with connect(self._address) as connection:
            if not create and not version(connection, self._address):
                raise no_store(self.url)
            migrate(connection, self._address)
        reader = Reader(self._address, self._clock, self._admit, server_time=self._server_time)
        try:
            self._writer = Writer(self._address, self._clock, self._hints, server_time=self._server_time)
        except BaseException:
            reader.close()
            raise
        self._reader = reader

    def _close(self) -> None:
        with self._opening:
            self._end_threads()
            self._hints.close()
            self._loans.close()

    def _closed(self) -> StoreClosed:
        return StoreClosed(f"the store {self.url} is not open: open it first, or keep it open")

    async def _submit_inside(self, connection: Any, trees: Sequence[Tree]) -> Submitted:
        if self._identity is None:
            self._identity = str(await self._read(lambda tables: _rows(tables).value("identity")))
        identity = self._identity
        self._hints.attend()
        try:
            return await submit_inside(connection, self._address, identity, trees, self._rehearse)
        except psycopg.Error as error:
            raise translate(error, self.url) from error

    async def _rehearse(self, earlier: Sequence[Sequence[Tree]], trees: Sequence[Tree]) -> list[Submission]:
        """What would be answered to `trees` if they were submitted now, after `earlier`."""

        def verb(work: Work) -> None:
            raise Rehearsed(rehearse(work, earlier, trees))

        try:
            await self._write(verb, alone=True)
        except Rehearsed as rehearsed:
            return rehearsed.answers
        raise AssertionError("a rehearsal commits nothing")

    def _submit(self, work: Work, trees: Sequence[Tree]) -> list[Submission]:
        return submit_beside_callers(work, trees, self._address)

    async def signal(self, signals: Sequence[Signal]) -> Sequence[Delivered]:
        wants = [signal.task_id for signal in signals]
        return await self._write(
            lambda work: deliver_beside_callers(work, signals, self._address), len(wants), wants=wants
        )

    async def sweep(self, limit: int, ttl: TimeToLive) -> Swept:
        return await self._write(lambda work: sweep(work, max(limit, 1), ttl, self._submit))

    def _look(self) -> None:
        """Something has arrived: reading has it admitted, unless another process was faster."""
        with contextlib.suppress(StoreError):  # whoever reads or writes next does it
            asyncio.run(self._read(lambda tables: tables.now))

    def _admit(self) -> None:
        """Has what callers have submitted stored. Called by threads of this store."""
        with contextlib.suppress(StoreClosed):
            asyncio.run(self._write(lambda work: None))

    async def transact(self, hold: Hold, step: Step, work: Callable[[Any], bytes], lease: Millis) -> Recorded:
        runs = await self._read(lambda tables: may_run(tables, hold, step))
        if runs is None:
            return Recorded(Answer.STALE)
        if runs:
            own = OwnTransaction(self._loans, self._clock, server_time=self._server_time)
            try:
                recorded = await asyncio.to_thread(own.run, hold, step, work, lease)
            except CallersError as error:
                raise error.error from None
            if own.hint is not None:
                self._hints.tell(own.hint)
            if recorded is not None:
                return recorded
        return (await self.record([Record(hold, (step,))], lease))[0]

    # -- maintenance

    async def info(self) -> dict[str, Any]:
        """What there is to know about the store: server, database, durability, schema, bytes, counts."""
        return await asyncio.to_thread(maintenance.info, self._address)

    async def check(self) -> list[str]:
        """What is wrong with the store, in sentences: what must hold between its rows. It reads all of them."""
        return await asyncio.to_thread(maintenance.check, self._address)

    async def compact(self) -> None:
        """Vacuums the tables, as their owner. Nobody waits meanwhile."""
        await asyncio.to_thread(maintenance.compact, self._address)

    # -- hints

    def listen(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        return self._hints.listen(listener)


def _rows(tables: Tables) -> Rows:
    assert isinstance(tables, Rows)
    return tables
