"""A process that spends: it runs tasks which reserve and settle one call after the other until they are refused.

python -m tests.integration.money.spender URL TASKS [CALLS]   (tasks at a time)

With CALLS, each task makes so many of the largest calls, which use next to nothing, and fails when it is refused.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from typing import Any

from tenuto.stores import open_store
from tenuto.stores.base import Store, TimeToLive
from tenuto.tasks.clock import Millis
from tenuto.tasks.lease import Lease
from tenuto.tasks.money import Amount, RefusalKind, Reserve, Settle
from tenuto.tasks.outcome import Answer, Record, Recorded, Step
from tenuto.tasks.waits import budget_topic
from tests.conformance.stage import Worker

__all__ = ["LARGEST"]

LARGEST = 1_000
"""Nano-dollars: the most that one call may cost."""
LEASE: Millis = 5_000
RATE = "rpm"


async def spend(worker: Worker, lease: Lease, calls: int) -> None:
    """Makes `calls` calls, or as many as the budget has room for; gives up where the lease is lost."""
    made = len(await worker.store.journal(lease.task_id))
    while made < calls or not calls:
        call, bound = f"call-{made}", LARGEST if calls else random.randint(1, LARGEST)
        recorded = await record(
            worker, lease, reserves=(Reserve(call, Amount(bound, bound, 1), "model", ((RATE, 1),)),)
        )
        if recorded.refused is not None:
            if not await goes_on(worker, lease, recorded, calls):
                return
            continue
        if recorded.answer is not Answer.ACCEPTED:
            return
        await asyncio.sleep(random.uniform(0.0, 0.03))  # the provider answers
        actual = Amount(random.randint(0, bound // (100 if calls else 1)), bound, 1)
        await record(worker, lease, Step(call, made), settles=(Settle(call, actual),))
        made += 1
    await worker.done(lease)


async def record(worker: Worker, lease: Lease, *steps: Step, **fields: Any) -> Recorded:
    """Records, and holds the task for as long as a claim does."""
    (recorded,) = await worker.store.record([Record(lease.hold, steps, **fields)], LEASE)
    return recorded


async def goes_on(worker: Worker, lease: Lease, recorded: Recorded, calls: int) -> bool:
    """What becomes of a task that was refused: whether it tries again here."""
    refused = recorded.refused
    assert refused is not None
    if refused.kind is RefusalKind.BUDGET:
        await (worker.fail(lease) if calls else worker.done(lease))
        return False
    assert refused.retry_at is not None
    if refused.kind is RefusalKind.BUSY:
        await worker.wait(lease, budget_topic(refused.key), until=refused.retry_at)
        return False
    await asyncio.sleep((refused.retry_at - refused.now) / 1_000)
    return True


async def serve(store: Store, name: str, calls: int) -> None:
    """Runs one task after the other, until there are none."""
    worker = Worker(store, name, ("spender",))
    while True:
        stats = await store.stats()
        for lease in await worker.claim(1, LEASE):
            await spend(worker, lease, calls)
        if not any(count for state, count in stats.items() if state not in ("done", "failed", "cancelled")):
            return
        await store.sweep(100, TimeToLive())
        await asyncio.sleep(0.05)


async def main(url: str, tasks: int, calls: int = 0) -> None:
    store = open_store(url)
    await store.open()
    try:
        await asyncio.gather(*(serve(store, f"{os.getpid()}-{number}", calls) for number in range(tasks)))
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
