"""A claim that the server forgets, because the tail of its log is lost: who holds it finds out, and has no effect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tenuto.stores import open_store
from tenuto.stores.base import Store
from tenuto.tasks.clock import wall_clock
from tenuto.tasks.event import EventKind
from tenuto.tasks.outcome import Answer, Step
from tenuto.tasks.states import State
from tests.conformance.stage import Stage, VirtualClock, raw, spec
from tests.servers.appendonly import cut_back, sizes
from tests.servers.redis import RedisServer, installations

pytestmark = pytest.mark.chaos


@pytest.fixture(params=sorted(installations()))
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(request.param, appendonly="always") as server:
        yield server


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[Store]:
    store = open_store(server.url(), clock=wall_clock)
    await store.open()
    yield store
    await store.close()


async def test_the_holder_of_a_forgotten_claim_has_no_effect(server: RedisServer, store: Store) -> None:
    stage = Stage(store, VirtualClock())
    await stage.add(spec("task-1"))
    # Given a claim, and a disk that has nothing of it when the server comes back
    flushed = sizes(server.folder)
    first = stage.worker()
    forgotten = await first.claim_one()
    server.kill()
    assert cut_back(server.folder, flushed) > 0
    server.start()
    assert await stage.state() is State.READY
    # When another one claims, with what looks like the same attempt
    second = stage.worker()
    held = await second.claim_one()
    assert held.attempt == forgotten.attempt
    assert held.nonce != forgotten.nonce
    # Then nothing of the first one is accepted
    assert (await first.record(forgotten, Step("s#0", 0, value=raw("poison")))).answer is Answer.STALE
    assert [renewal.held for renewal in await first.renew(forgotten)] == [False]
    assert await first.done(forgotten, "poison") is Answer.STALE
    # and everything of the second one is
    assert await second.done(held, "good") is Answer.ACCEPTED
    assert (await stage.task()).result == raw("good")


async def test_a_report_for_a_claim_that_nobody_took_again_is_refused(server: RedisServer, store: Store) -> None:
    stage = Stage(store, VirtualClock())
    await stage.add(spec("task-1"))
    flushed = sizes(server.folder)
    worker = stage.worker()
    forgotten = await worker.claim_one()
    server.kill()
    cut_back(server.folder, flushed)
    server.start()
    assert await worker.done(forgotten, "poison") is Answer.STALE
    assert await stage.state() is State.READY


async def test_a_reader_whose_cursor_lies_in_the_lost_tail_misses_nothing(server: RedisServer, store: Store) -> None:
    stage = Stage(store, VirtualClock())
    await stage.add(spec("task-1"))
    flushed = sizes(server.folder)
    forgotten = await stage.worker().claim_one()
    page = await store.events()
    assert [event.kind for event in page.events] == [EventKind.CREATED, EventKind.STARTED]
    server.kill()
    cut_back(server.folder, flushed)
    server.start()
    worker = stage.worker()
    held = await worker.claim_one()
    assert held.hold != forgotten.hold
    await worker.done(held)
    assert [event.kind for event in (await store.events(page.cursor)).events] == [EventKind.STARTED, EventKind.DONE]
