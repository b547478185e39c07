"""The slots of a worker, where a test decides about the order of things."""

from __future__ import annotations

import asyncio

import pytest

from tenuto.agents.function import task_agent
from tenuto.stores.memory import MemoryStore
from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Ending
from tenuto.tasks.retry import RetryPolicy
from tenuto.workers.execution import Stop
from tenuto.workers.patience import Patience
from tenuto.workers.recorder import Recorder
from tenuto.workers.services import Services
from tenuto.workers.slots import Slots
from tenuto.workers.threads import Threads


@task_agent(name="never")
async def never() -> None:
    raise AssertionError("it was stopped before it began")


@pytest.mark.parametrize(
    ("cause", "ending"),
    [
        (Stop.LEASE_LOST, Ending.RELEASE),
        (Stop.DRAINING, Ending.RELEASE),
        (Stop.ATTEMPT_LIMIT, Ending.RETRY),
    ],
)
async def test_an_attempt_that_is_stopped_before_its_first_moment_frees_its_slot(cause: Stop, ending: Ending) -> None:
    store = MemoryStore()
    services = Services(store, Recorder(store, 1_000, "w"), Threads(1, "w"), Patience("w"), 1_000, 60, RetryPolicy())
    ended = asyncio.Event()
    slots = Slots(1, {"never": never}, services, watch=lambda _: None, ended=ended.set)
    # Given a claim whose answer came so late that the lease ends in the same moment
    slots.take_in([Lease("task-1", 1, 7, 0, "task-1", "never", attempt_timeout=1_000)], 0.0)
    (execution,) = slots.held.values()
    # When it is stopped before the event loop has come to it
    slots.stop(execution, cause)
    async with asyncio.timeout(60):
        await ended.wait()
    # Then nothing of it is left
    assert [(outcome.hold, outcome.ending) for outcome in slots.outcomes] == [(execution.lease.hold, ending)]
    assert slots.held == {}
    assert (slots.busy, slots.free) == (0, 1)
