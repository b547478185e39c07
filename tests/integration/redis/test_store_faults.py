"""The store under faults of its server: what was answered is there, nothing is done twice, and each has a sentence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tenuto.errors import StoreClosed, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from tenuto.stores import open_store
from tenuto.stores.base import Store
from tenuto.tasks.goal import Tree
from tenuto.tasks.outcome import Answer
from tenuto.tasks.states import State
from tests.conformance.ear import Ear, ready
from tests.conformance.stage import Worker, spec
from tests.servers.redis import RedisServer, installations, shared_redis

Opener = Callable[[str], Awaitable[Store]]


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    """Opens the store at a URL, which is closed with the test."""
    async with AsyncExitStack() as stack:

        async def make(url: str) -> Store:
            store = open_store(url)
            stack.push_async_callback(store.close)
            await store.open()
            return store

        yield make


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults are given up soon, which would be waited for."""
    monkeypatch.setattr("tenuto.stores.redis.connection.PATIENCE", 0.5)


async def add(store: Store, *ids: str) -> None:
    await store.submit([Tree(spec(each)) for each in ids])


async def states(store: Store) -> dict[State, int]:
    return {state: count for state, count in (await store.stats()).items() if count}


@pytest.mark.parametrize("version", installations())
async def test_nothing_that_was_answered_is_lost_when_the_server_is_killed(version: str, opened: Opener) -> None:
    # Given a server that flushes each write, and a worker that does task after task
    with RedisServer(version, appendonly="always") as server:
        store = await opened(server.url())
        worker = Worker(store, "w", ("echo",))
        done: list[str] = []
        turns: asyncio.Queue[None] = asyncio.Queue()

        async def work() -> None:
            for number in range(300):
                await add(store, f"t-{number}")
                (lease,) = await worker.claim()
                assert await worker.done(lease) in (Answer.ACCEPTED, Answer.ALREADY)
                done.append(lease.task_id)
                turns.put_nowait(None)

        working = asyncio.create_task(work())
        # When the server is killed again and again, and comes back
        for _ in range(3):
            for _ in range(20):
                await turns.get()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await asyncio.wait_for(working, 120)
        # Then every task was done once
        assert done == [f"t-{number}" for number in range(300)]
        assert await states(store) == {State.DONE: 300}


async def test_connections_that_are_cut_all_the_time_lose_and_double_nothing(opened: Opener) -> None:
    with RedisServer() as server:
        store = await opened(server.url())
        over = asyncio.Event()

        async def cut() -> None:
            while not over.is_set():
                await asyncio.to_thread(server.command, "CLIENT", "KILL", "TYPE", "normal")
                await asyncio.sleep(0.005)

        async def work(name: str) -> int:
            worker, count = Worker(store, name, ("echo",)), 0
            while count < 50:
                for lease in await worker.claim(5):
                    assert await worker.done(lease) in (Answer.ACCEPTED, Answer.ALREADY)
                    count += 1
            return count

        cutting = asyncio.create_task(cut())
        try:
            await add(store, *(f"t-{number}" for number in range(200)))
            counts = await asyncio.gather(*(work(f"w{number}") for number in range(4)))
        finally:
            over.set()
            await cutting
        assert sum(counts) == 200
        assert await states(store) == {State.DONE: 200}


async def test_a_restart_without_persistence_leaves_a_store_that_can_be_used(opened: Opener) -> None:
    with RedisServer() as server:
        store = await opened(server.url())
        await add(store, "a")
        server.restart()
        assert await store.task("a") is None
        await add(store, "b")
        assert await states(store) == {State.READY: 1}


def forget_scripts(server: RedisServer, functions: bool) -> None:
    server.command("SCRIPT", "FLUSH")
    if functions:
        server.command("FUNCTION", "FLUSH")


def keeps_functions(version: str) -> bool:
    return version != "redis6"


@pytest.mark.parametrize("version", installations())
async def test_scripts_that_were_flushed_are_loaded_again(version: str, opened: Opener) -> None:
    with RedisServer(version) as server:
        store = await opened(server.url())
        await add(store, "a")
        forget_scripts(server, keeps_functions(version))
        await add(store, "b")
        assert await states(store) == {State.READY: 2}


@pytest.mark.parametrize("less", ["-function|load", "-fcall", "-function|list"])
@pytest.mark.parametrize("version", [version for version in installations() if keeps_functions(version)])
async def test_a_user_who_may_not_use_functions_uses_scripts(version: str, less: str, opened: Opener) -> None:
    with RedisServer(version) as server:
        server.command("ACL", "SETUSER", "bob", "on", ">secret", "~*", "&*", "+@all", less)
        store = await opened(server.url(user="bob", password="secret"))
        await add(store, "a")
        forget_scripts(server, functions=True)
        worker = Worker(store, "w", ("echo",))
        assert await worker.done(await worker.claim_one()) is Answer.ACCEPTED
        assert await states(store) == {State.DONE: 1}
        assert server.command("FUNCTION", "LIST") == []


@pytest.mark.parametrize("version", installations())
async def test_a_request_that_failed_half_way_leaves_nothing_to_the_next(version: str, opened: Opener) -> None:
    # Given a submission that fails half way, because a key has become something else
    with RedisServer(version) as server:
        store = await opened(server.url(namespace="one"))
        other = await opened(server.url(namespace="two"))
        server.command("SET", "one:tasks", "no sorted set")
        with pytest.raises(StoreError, match="wrong kind of value"):
            await add(store, "a")
        # When another store asks for something, then what was begun is not carried on there
        await add(other, "b")
        assert await states(other) == {State.READY: 1}
        assert await other.task("a") is None
        assert server.command("ZRANGE", "two:tasks", 0, -1) == ["b"]


# -- one sentence for each ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", installations())
async def test_a_full_memory(version: str, opened: Opener) -> None:
    # Given a store on a server whose memory is full
    with RedisServer(version) as server:
        store = await opened(server.url())
        await add(store, "a")
        server.command("SET", "big", "x" * 1_000_000)
        server.command("CONFIG", "SET", "maxmemory", "100kb")
        # When something is to be stored, then it is refused as a whole
        with pytest.raises(StoreFull, match="has used up maxmemory"):
            await add(store, "b")
        assert await store.task("b") is None
        # And once there is room, work goes on
        server.command("CONFIG", "SET", "maxmemory", 0)
        await add(store, "b")
        assert await states(store) == {State.READY: 2}


@pytest.mark.usefixtures("impatient")
async def test_a_failover_that_makes_the_server_a_replica(opened: Opener) -> None:
    with RedisServer() as server:
        store = await opened(server.url())
        await add(store, "a")
        server.demote()
        with pytest.raises(StoreReadOnly, match="read-only replica"):
            await add(store, "b")
        server.promote()
        await add(store, "b")
        assert await states(store) == {State.READY: 2}


async def test_a_replica_that_is_promoted_has_what_was_confirmed(opened: Opener) -> None:
    # Given a store that waits for its replica
    with RedisServer() as master, RedisServer() as replica:
        replica.follow(master)
        store = await opened(master.url(wait_replicas=1, wait_timeout=10))
        await add(store, *(f"t-{number}" for number in range(50)))
        # When the master is lost, and the replica promoted
        master.kill()
        replica.promote()
        # Then all that was answered is there
        assert await states(await opened(replica.url())) == {State.READY: 50}


@pytest.mark.usefixtures("impatient")
async def test_too_few_replicas(opened: Opener) -> None:
    with RedisServer() as server:
        store = await opened(server.url(wait_replicas=1, wait_timeout=0.1))
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="may or may not survive a failover"):
                await add(store, "a")


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_stands_still(opened: Opener) -> None:
    with RedisServer() as server:
        store = await opened(server.url(socket_timeout=0.3, socket_connect_timeout=0.3))
        await add(store, "a")
        server.freeze()
        for verb in (add(store, "b"), store.task("a")):
            with pytest.raises(StoreUnavailable, match="gave no answer in time"):
                await verb
        server.thaw()
        await add(store, "b")
        assert await states(store) == {State.READY: 2}


async def test_a_right_that_is_taken_away(opened: Opener) -> None:
    with RedisServer() as server:
        server.command("ACL", "SETUSER", "bob", "on", ">secret", "~*", "&*", "+@all")
        store = await opened(server.url(user="bob", password="secret"))
        await add(store, "a")
        server.command("ACL", "SETUSER", "bob", "-hset", "-xadd")
        with pytest.raises(StoreError, match="does not let this user do what it has to") as caught:
            await add(store, "b")
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("version", installations())
async def test_the_right_to_publish_may_be_taken_away(version: str, opened: Opener) -> None:
    # Given a store whose user may not publish any more
    with RedisServer(version) as server:
        server.command("ACL", "SETUSER", "bob", "on", ">secret", "~*", "allchannels", "+@all")
        store = await opened(server.url(user="bob", password="secret"))
        server.command("ACL", "SETUSER", "bob", "resetchannels")
        # When something is committed, then all of it is, and others find it by polling
        for number in range(3):
            await add(store, f"t{number}")
        assert await states(store) == {State.READY: 3}
        assert [event.task_id for event in (await store.events()).events] == ["t0", "t1", "t2"]
        assert server.command("HGET", "store", "submitted") == "3"


async def test_a_store_that_cannot_be_opened_writes_nothing(opened: Opener) -> None:
    with RedisServer(maxmemory_policy="allkeys-lru") as server:
        with pytest.raises(StoreError, match="maxmemory-policy"):
            await opened(server.url())
        assert server.command("DBSIZE") == 0


async def test_a_closed_store(opened: Opener) -> None:
    store = await opened(shared_redis().url(namespace="shut"))
    await store.close()
    await store.close()
    with pytest.raises(StoreClosed, match="is not open"):
        await add(store, "a")


# -- wake-ups ----------------------------------------------------------------------------------------------


async def test_a_store_whose_server_is_gone_is_closed_soon(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given requests that wait for a server which does not come back, for longer than this test may take
    monkeypatch.setattr("tenuto.stores.redis.connection.PATIENCE", 1_000.0)
    with RedisServer() as server:
        store = await opened(server.url())
        await asyncio.to_thread(server.kill)
        waiting = [asyncio.create_task(verb) for verb in (add(store, "a"), store.task("a"))]
        await asyncio.sleep(0.1)
        waiting += [asyncio.create_task(verb) for verb in (add(store, "b"), store.task("b"))]
        # When the store is closed, it does not wait as long as they would, and they are told
        await store.close()
        for told in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(told, StoreUnavailable | StoreClosed)


async def test_an_idle_worker_elsewhere_starts_a_new_task_within_milliseconds(opened: Opener) -> None:
    # Given a worker that listens, and a client with a store of its own
    url = shared_redis().url(namespace="idle")
    there, here = await opened(url), await opened(url)
    worker, ear = Worker(there, "w", ("echo",)), Ear(there)
    took = []
    for number in range(21):
        ear.hints.clear()
        begun = time.perf_counter()
        # When a task is submitted
        await add(here, f"t-{number}")
        await ear.until(ready("echo"))
        (lease,) = await worker.claim()
        took.append(time.perf_counter() - begun)
        await worker.done(lease)
        await asyncio.sleep(0.005)
    # Then it is claimed without waiting for anything, as each of them would
    assert min(took) < 0.02


async def test_an_open_store_is_described(opened: Opener) -> None:
    store: Any = await opened(shared_redis().url(namespace="described"))
    told = await store.info()
    assert told["bytes"] > 0
    assert "a restart loses everything" in told["durability"]
