"""A client on each engine, and a worker's part played by hand: what is claimed, and how it ends, is up to the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenuto.client import Client
from tenuto.stores.base import Claim, Exchange, Store
from tenuto.tasks.blobs import apart
from tenuto.tasks.clock import wall_clock
from tenuto.tasks.ids import new_id
from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Answer, Ending, Outcome
from tenuto.tasks.task import ErrorRecord, TaskSpec
from tenuto.tasks.values import encode
from tenuto.tasks.waits import Wait
from tests.conformance.engines import ENGINES


class Hands:
    """A worker that does nothing by itself."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._id = new_id("hands")
        self._numbers = count(1)

    async def claim(self, agent: str = "agent", slots: int = 1) -> list[Lease]:
        claim = Claim((agent,), slots, 60_000)
        return list((await self._store.commit_and_claim(Exchange(self._id, next(self._numbers), (), claim))).leases)

    async def report(self, outcome: Outcome) -> None:
        answered = await self._store.commit_and_claim(Exchange(self._id, next(self._numbers), (outcome,)))
        assert answered.answers == (Answer.ACCEPTED,)

    async def done(self, lease: Lease, result: Any = None) -> None:
        data = encode(result, "result")
        stored, blobs = apart(data)
        await self.report(Outcome(lease.hold, Ending.DONE, result=msgspec.Raw(stored), blobs=blobs))

    async def fail(self, lease: Lease, message: str = "it broke") -> None:
        await self.report(Outcome(lease.hold, Ending.FAILED, error=ErrorRecord("ValueError", message)))

    async def wait(self, lease: Lease, *topics: str) -> None:
        await self.report(Outcome(lease.hold, Ending.WAIT, wait=Wait(topics)))

    async def finish(self, agent: str = "agent", result: Any = None) -> str:
        """Claims the next task and ends it well; its id."""
        [lease] = await self.claim(agent)
        await self.done(lease, result)
        return lease.task_id


def spec(id: str | None = None, payload: Any = None, **fields: Any) -> TaskSpec:
    raw = msgspec.Raw(encode(payload, "payload"))
    return TaskSpec(id=id or new_id(), payload=raw, **({"agent": "agent"} | fields))


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = ENGINES[request.param].make(tmp_path, wall_clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def client(store: Store) -> AsyncIterator[Client]:
    async with Client(store) as client:
        yield client


@pytest.fixture
def hands(store: Store) -> Hands:
    return Hands(store)
