"""The group commit of journals: all tasks of a worker share one record request at a time.

Whatever is handed in while a request is in flight goes together with the next one. There is no timer: a single step
is sent at once, and a hundred concurrent ones cost one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tenuto.stores.base import Store
from tenuto.tasks.clock import Millis
from tenuto.tasks.outcome import Record, Recorded
from tenuto.workers.patience import Patience

__all__ = ["Recorder"]


class Recorder:
    """Sends records to the store, in the order in which they were handed in."""

    def __init__(self, store: Store, lease: Millis, who: str) -> None:
        self._store = store
        self._lease = lease
        self._patience = Patience(who)
        self._waiting: list[tuple[Record, asyncio.Future[Recorded]]] = []
        self._sender: asyncio.Task[None] | None = None

    def put(self, record: Record) -> asyncio.Future[Recorded]:
        """Hands in `record`. The future is done once it is durable, or refused."""
        future: asyncio.Future[Recorded] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, future))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())
        return future

    async def close(self) -> None:
        """Stops sending; what was not sent is dropped with its futures cancelled."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)

    async def _send(self) -> None:
        batch: list[tuple[Record, asyncio.Future[Recorded]]] = []
        try:
            while self._waiting:
                # A task that was stopped meanwhile has cancelled its future: its record is not sent any more.
                batch, self._waiting = [each for each in self._waiting if not each[1].cancelled()], []
                if batch:
                    self._answer(batch, await self._ask([record for record, _ in batch]))
        except Exception as error:  # noqa: BLE001 - whoever waits for a record is told why it was not made
            for _, future in batch + self._waiting:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # a progress report that nobody awaits must not complain at exit
        finally:
            for _, future in batch + self._waiting:
                future.cancel()
            self._waiting = []
            self._sender = None

    async def _ask(self, records: Sequence[Record]) -> Sequence[Recorded]:
        return await self._patience.ask(lambda: self._store.record(records, self._lease), "record")

    @staticmethod
    def _answer(batch: Sequence[tuple[Record, asyncio.Future[Recorded]]], answers: Sequence[Recorded]) -> None:
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
