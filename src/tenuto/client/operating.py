"""Operating a store: shared limits and weights, who works, what waits, and removing what is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tenuto.client.connection import Connection
from tenuto.client.reading import state_named
from tenuto.errors import InvalidInput, NotFound
from tenuto.stores.base import AgentLoad, LimitUse, WorkerInfo
from tenuto.tasks.clock import duration, instant
from tenuto.tasks.ids import check_name
from tenuto.tasks.limits import Limit
from tenuto.tasks.states import FINAL, State

__all__ = ["Operating"]


class Operating(Connection):
    """The verbs for whoever runs the system."""

    async def put_limit(
        self,
        key: str,
        *,
        concurrency: int | None = None,
        rate: int | None = None,
        per: float | timedelta = 1.0,
        burst: int = 1,
    ) -> None:
        """Defines or replaces what all tasks that name `key` in `limits` share.

        concurrency: how many run at once. rate: how many start per `per` seconds; burst: how many of them may follow
        each other at once after a quiet time. Raises `InvalidInput`.
        """
        limit = Limit(key=key, concurrency=concurrency, rate=rate, period=duration(per, "per"), burst=burst)
        await (await self._ready()).put_limit(limit.check())

    async def drop_limit(self, key: str) -> None:
        """Removes a limit; what it held back goes on. Raises `NotFound`."""
        if not await (await self._ready()).drop_limit(key):
            raise NotFound(f"there is no limit {key!r}")

    async def limits(self) -> Sequence[LimitUse]:
        """All limits and how much of each is used, by key."""
        return await (await self._ready()).limits()

    async def put_weight(self, owner_id: str, weight: float) -> None:
        """Sets an owner's share relative to the others: 0.001 to 1000, 1 unless said."""
        if not 0.001 <= weight <= 1000:
            raise InvalidInput(f"the weight of {owner_id!r} must lie between 0.001 and 1000, not {weight}")
        await (await self._ready()).put_weight(check_name(owner_id, "owner_id"), weight)

    async def agents(self) -> Sequence[AgentLoad]:
        """Every agent with unfinished tasks or live workers, by name."""
        return await (await self._ready()).agents()

    async def workers(self) -> Sequence[WorkerInfo]:
        """The workers seen in the last minute."""
        return await (await self._ready()).workers()

    async def stats(self) -> Mapping[State, int]:
        """How many tasks are in each state; goals not counted."""
        return await (await self._ready()).stats()

    async def purge(self, before: datetime | float, *, states: Sequence[State | str] = (), limit: int = 1_000) -> int:
        """Removes trees that ended before `before` (an aware datetime or Unix seconds), whatever their time to live.

        states: only those whose root ended so. limit: at most so many. Returns how many were removed.
        """
        named = tuple(map(state_named, states))
        if not FINAL.issuperset(named):
            raise InvalidInput("states: only what has ended can be removed: done, failed or cancelled")
        return await (await self._ready()).purge(instant(before, "before"), named, limit)
