"""The sweeper: does what time brings.

Leases that ended, delays and back-offs, waits, deadlines, rates, schedules, and the purge of old trees: none of these
has a timer of its own in the store. Every answer to a claim carries `next_due`, the instant at which the next timer is
due, and whoever reaches it sweeps. Several sweepers are harmless: a sweep is one short transaction over what is due.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tenuto.observability.logging import logger
from tenuto.stores.base import Store
from tenuto.tasks.clock import Millis, wall_clock
from tenuto.workers.config import MaintenanceWorkerConfig
from tenuto.workers.patience import Patience

__all__ = ["Sweeper"]

_PAUSE = 0.01
"""Seconds after a sweep that found nothing to do: a timer that is due but cannot be handled yet must not spin."""


_FAR_AHEAD: Millis = 60_000

log = logger("tenuto.worker")


def _nothing() -> None:
    """Nobody wants to know."""


class Sweeper:
    """Sweeps one store when something is due, and at least every `config.interval` seconds."""

    def __init__(
        self,
        store: Store,
        config: MaintenanceWorkerConfig | None = None,
        *,
        changed: Callable[[], None] = _nothing,
        name: str = "maintenance",
    ) -> None:
        """`changed` is called in the event loop after every sweep that changed something."""
        self._store = store
        self._config = config or MaintenanceWorkerConfig()
        self._changed = changed
        self._patience = Patience(name)
        self._ahead = wall_clock() / 1000 - time.monotonic()
        """seconds by which the engine's clock is ahead of the monotonic one"""
        self._next = 0.0
        """when to sweep next, by the monotonic clock"""
        self._earlier = asyncio.Event()
        self._warned = False

    def due(self, at: Millis | None, now: Millis) -> None:
        """The next timer is due at `at`, by the engine's clock, which shows `now`."""
        self._ahead = now / 1000 - time.monotonic()
        if not self._warned and (ahead := now - wall_clock()) > _FAR_AHEAD:
            self._warned = True
            log.warning(
                "the store's clock is ahead of this machine's; the time of a SQLite store stands still until this "
                "machine's clock has caught up",
                seconds=ahead // 1000,
            )
        if at is not None and at / 1000 - self._ahead < self._next:
            self._next = at / 1000 - self._ahead
            self._earlier.set()

    async def run(self) -> None:
        """Sweeps until it is cancelled. Raises errors of the store that do not pass by waiting."""
        ttl, limit = self._config.time_to_live(), self._config.max_cleanup_batch
        while True:
            swept = await self._patience.ask(lambda: self._store.sweep(limit, ttl), "sweep")
            changed = bool(swept.changed or swept.fired)
            if changed:
                self._changed()
            if swept.more:
                await asyncio.sleep(0)  # others' turn: a long purge must not stop the worker
                continue
            self._next = time.monotonic() + self._config.interval
            if swept.next_due is not None:
                self._next = min(self._next, swept.next_due / 1000 - self._ahead)
            if not changed:
                await asyncio.sleep(_PAUSE)
            await self._wait()

    async def _wait(self) -> None:
        while (left := self._next - time.monotonic()) > 0:
            self._earlier.clear()
            try:
                async with asyncio.timeout(left):
                    await self._earlier.wait()
            except TimeoutError:
                return
