"""`tenuto store info` and `check` on Redis: what the server is, and whether what is stored is sound."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tenuto.stores.base import Maintained
from tenuto.stores.redis import RedisStore
from tenuto.tasks.goal import Edge, Tree
from tenuto.tasks.task import TaskSpec
from tests.conformance.stage import Worker, spec
from tests.servers.redis import RedisServer


@pytest.fixture
def server() -> RedisServer:
    return RedisServer()


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    """A store with tasks in every state."""
    with server:
        store = RedisStore(server.url())
        await store.open()
        try:
            await store.submit([Tree(spec(f"t-{number}", owner="ann")) for number in range(300)])
            nodes = tuple(spec(name) for name in "abc")
            await store.submit([Tree(TaskSpec(id="goal"), nodes, (Edge("a", "b"), Edge("b", "c")))])
            worker = Worker(store, "w", ("echo",))
            leases = [lease for lease in await worker.claim(8) if lease.task_id.startswith("t-")]
            await worker.done(leases[0])
            await worker.fail(leases[1])
            await worker.retry(leases[2])
            yield store
        finally:
            await store.close()


async def test_a_sound_store(store: RedisStore) -> None:
    assert isinstance(store, Maintained)
    assert await store.check() == []
    await store.compact()
    told = await store.info()
    assert told["bytes"] > 0
    assert told["durability"].startswith(told["server"])


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("DEL", "task:t-100"), "1 tasks are listed, and what was stored of them is gone"),
        (("ZREM", "agent:echo:ready", "t-100"), "1 tasks are missing from the list"),
        (("DEL", "ready:0:echo:ann"), "ready tasks stand in no lane"),
        (("DEL", "lanes:0:echo"), "ready tasks are in lanes that claims do not look at"),
        (("DEL", "due"), "tasks wait for an instant that nobody watches"),
        (("DEL", "ended:done"), "1 ended trees would never be purged"),
    ],
)
async def test_what_is_wrong_is_said(
    store: RedisStore, server: RedisServer, command: tuple[str, ...], sentence: str
) -> None:
    server.command(*command)
    assert any(sentence in each for each in await store.check())
