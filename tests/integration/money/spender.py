"""A process that spends: it runs tasks which reserve and settle one call after the other until they are refused.

python -m tests.integration.money.spender URL TASKS   (tasks at a time)
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

from tenuto.stores import open_store
from tenuto.stores.base import Store, TimeToLive
from tenuto.tasks.clock import Millis
from tenuto.tasks.lease import Lease
from tenuto.tasks.money import Amount, RefusalKind, Reserve, Settle
from tenuto.tasks.outcome import Answer, Recorded
from tests.conformance.stage import Worker

__all__ = ["LARGEST"]

LARGEST = 1_000
"""Nano-dollars: the most that one call may cost."""
LEASE: Millis = 2_000
RATE = "rpm"


async def spend(worker: Worker, lease: Lease) -> None:
    """Makes calls until the budget has no room for the next one; gives up where the lease is lost."""
    number = 0
    while True:
        number += 1
        call, bound = f"call-{number}", random.randint(1, LARGEST)
        recorded = await record(worker, lease, Reserve(call, Amount(bound, bound, 1), "model", ((RATE, 1),)))
        refused = recorded.refused
        if refused is not None and refused.kind is RefusalKind.BUDGET:
            await worker.done(lease)
            return
        if refused is not None:
            assert refused.retry_at is not None
            await asyncio.sleep((refused.retry_at - refused.now) / 1_000)
            continue
        if recorded.answer is not Answer.ACCEPTED:
            return
        await asyncio.sleep(random.uniform(0.0, 0.03))  # the provider answers
        await record(worker, lease, Settle(call, Amount(random.randint(0, bound), bound, 1)))


async def record(worker: Worker, lease: Lease, call: Reserve | Settle) -> Recorded:
    if isinstance(call, Reserve):
        return await worker.record(lease, reserves=(call,))
    return await worker.record(lease, settles=(call,))


async def serve(store: Store, name: str) -> None:
    """Runs one task after the other, until there are none."""
    worker = Worker(store, name, ("spender",))
    while True:
        stats = await store.stats()
        for lease in await worker.claim(1, LEASE):
            await spend(worker, lease)
        if not any(count for state, count in stats.items() if state not in ("done", "failed", "cancelled")):
            return
        await store.sweep(100, TimeToLive())
        await asyncio.sleep(0.25)


async def main(url: str, tasks: int) -> None:
    store = open_store(url)
    await store.open()
    try:
        await asyncio.gather(*(serve(store, f"{os.getpid()}-{number}") for number in range(tasks)))
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
