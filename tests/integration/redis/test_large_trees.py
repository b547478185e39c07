"""Goals of thousands of nodes, and waits for thousands of tasks: the server belongs to nobody for long, and what was
begun is carried on by whoever sweeps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest

from tenuto.errors import StoreUnavailable
from tenuto.stores.base import Store, TaskFilter, Verdict
from tenuto.stores.redis import RedisStore
from tenuto.tasks.event import EventKind
from tenuto.tasks.goal import Edge, Tree
from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Answer, Ending, Outcome, Record
from tenuto.tasks.signal import Delivery, Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec
from tenuto.tasks.waits import Wait
from tests.conformance.stage import FOREVER, LEASE, Worker, raw, spec
from tests.servers.redis import RedisServer

NODES = 2_500
NAMES = [f"n{number}" for number in range(NODES)]

SHAPES = {
    "apart": (),
    "fan out": tuple(Edge(NAMES[0], name) for name in NAMES[1:]),
    "fan in": tuple(Edge(name, NAMES[-1]) for name in NAMES[:-1]),
    "chain": tuple(Edge(*ends) for ends in pairwise(NAMES)),
}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(slowlog_log_slower_than=200, slowlog_max_len=100_000) as server:
        yield server


Opener = Callable[[], Awaitable[RedisStore]]


@pytest.fixture
async def opened(server: RedisServer) -> AsyncIterator[Opener]:
    """Opens one more store on the server."""
    async with AsyncExitStack() as stack:

        async def make() -> RedisStore:
            store = RedisStore(server.url())
            stack.push_async_callback(store.close)
            await store.open()
            return store

        yield make


@pytest.fixture
async def store(opened: Opener) -> RedisStore:
    return await opened()


def goal(shape: str = "apart", name: str = "g") -> Tree:
    return Tree(TaskSpec(id=name), tuple(map(spec, NAMES)), SHAPES[shape])


def times(server: RedisServer) -> list[int]:
    """How long the server was held by each command of some length since this was asked last, in microseconds."""
    with server.client() as client:
        found = [entry["duration"] for entry in client.slowlog_get(100_000)]
        client.slowlog_reset()
    return found


async def in_pieces(server: RedisServer, work: Awaitable[object]) -> None:
    """Does `work`: the time of the server that it takes is spread over many commands."""
    times(server)
    await work
    taken = times(server)
    assert len([each for each in taken if each * 100 > sum(taken)]) >= 6


async def signal(store: Store, kind: SignalKind, task_id: str = "g") -> Delivery:
    (told,) = await store.signal([Signal(task_id, kind)])
    return told.delivery


async def count(store: Store) -> dict[str, int]:
    return {state.value: count for state, count in (await store.stats()).items() if count}


async def state(store: Store, task_id: str = "g") -> State:
    task = await store.task(task_id)
    assert task is not None
    return task.state


async def drain(worker: Worker) -> int:
    """Claims and finishes until nothing is left; how many."""
    done = 0
    leases: tuple[Lease, ...] = (await worker.exchange(slots=200)).leases
    while leases:
        done += len(leases)
        outcomes = [Outcome(lease.hold, Ending.DONE, result=raw(1)) for lease in leases]
        leases = (await worker.exchange(outcomes, slots=200)).leases
    return done


async def settle(store: Store) -> None:
    """Sweeps until nothing is left."""
    while (await store.sweep(1_000, FOREVER)).more:
        pass


# -- nobody holds the server for long ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_large_goal_never_holds_the_server(shape: str, server: RedisServer, store: RedisStore) -> None:
    await in_pieces(server, store.submit([goal(shape)]))
    nodes = await store.goal("g")
    assert nodes is not None
    assert [node.id for node in nodes.nodes] == NAMES
    assert nodes.edges == SHAPES[shape]
    for kind in (SignalKind.PAUSE, SignalKind.RESUME, SignalKind.CANCEL):
        await in_pieces(server, signal(store, kind))
    assert await count(store) == {"cancelled": NODES}
    assert await state(store) is State.CANCELLED
    await in_pieces(server, store.purge(await store.now() + 1_000))
    assert await count(store) == {}
    assert (await store.tasks(TaskFilter())).tasks == ()
    assert server.command("DBSIZE") < 20
    assert await store.check() == []


@pytest.mark.parametrize("shape", ["fan out", "chain"])
async def test_a_failure_that_many_depend_on_never_holds_the_server(
    shape: str, server: RedisServer, store: RedisStore
) -> None:
    # Given a goal whose first node fails
    await store.submit([goal(shape)])
    worker = Worker(store, "w", ("echo",))
    lease = await worker.claim_one()
    # When it ends, then all that depends on it is skipped in pieces, and the goal has failed
    await in_pieces(server, worker.fail(lease))
    assert await count(store) == {"failed": 1, "cancelled": NODES - 1}
    assert await state(store) is State.FAILED
    # And it is retried in pieces
    await in_pieces(server, signal(store, SignalKind.RETRY))
    assert await count(store) == {"ready": 1, "blocked": NODES - 1}
    assert await state(store) is State.WAITING
    assert await store.check() == []


async def test_a_node_is_retried_in_pieces_while_its_goal_goes_on(server: RedisServer, store: RedisStore) -> None:
    # Given a goal in which one of two nodes has failed, on which all others but one depend
    edges = tuple(Edge(NAMES[0], name) for name in NAMES[2:])
    await store.submit([Tree(TaskSpec(id="g"), tuple(map(spec, NAMES)), edges)])
    worker = Worker(store, "w", ("echo",))
    first, second = await worker.claim(2)
    await worker.fail(first)
    assert await state(store) is State.WAITING
    # When it is retried
    await in_pieces(server, signal(store, SignalKind.RETRY, NAMES[0]))
    # Then the goal goes on to its end
    await worker.done(second)
    assert await drain(worker) == NODES - 1
    assert await state(store) is State.DONE


async def test_the_last_end_of_a_large_goal_never_holds_the_server(server: RedisServer, store: RedisStore) -> None:
    await store.submit([goal("fan out")])
    worker = Worker(store, "w", ("echo",))
    await in_pieces(server, drain(worker))
    assert await state(store) is State.DONE
    assert [event.kind for event in (await store.events(task_id="g")).events] == [EventKind.CREATED, EventKind.DONE]


# -- what was begun is carried on --------------------------------------------------------------------------


def dies_after_its_first_script(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever uses this store goes away as soon as there is work left."""

    async def walk(root: str | None) -> bool:
        raise StoreUnavailable("it was killed")

    monkeypatch.setattr(store, "_walk", walk)


async def begin(store: RedisStore, opened: Opener, monkeypatch: pytest.MonkeyPatch, kind: SignalKind) -> None:
    """A directive whose sender is killed between two pieces."""
    other = await opened()
    dies_after_its_first_script(other, monkeypatch)
    with pytest.raises(StoreUnavailable):
        await signal(other, kind)


async def test_a_cancel_that_was_begun_holds_at_once_and_is_finished_by_a_sweep(
    store: RedisStore, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a goal with a running node, and a task of somebody else
    await store.submit([goal()])
    worker = Worker(store, "w", ("echo",))
    leases = await worker.claim(2)
    await store.submit([Tree(spec("other"))])
    # When it is cancelled by a client that is killed in the middle of it
    await begin(store, opened, monkeypatch, SignalKind.CANCEL)
    # Then the goal is cancelled, and much of it not yet
    assert await state(store) is State.CANCELLED
    assert (await count(store))["ready"] > NODES / 2
    # But none of it can be claimed, renewed or reported on any more
    claimed: list[str] = []
    for _ in range(40):
        claimed += await worker.ids(3)
    assert set(claimed) <= {"other"}
    assert [each.held for each in await worker.renew(leases[0])] == [False]
    assert await worker.done(leases[1]) is Answer.STALE
    # And a sweep finishes it: each node has ended once
    await settle(store)
    assert (await count(store))["cancelled"] == NODES
    ends = Counter(event.task_id for event in (await store.events(kinds=[EventKind.CANCELLED], limit=9_999)).events)
    assert ends == dict.fromkeys([*NAMES, "g"], 1)
    assert await store.check() == []


async def test_a_pause_that_was_begun_holds_at_once(
    store: RedisStore, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.submit([goal()])
    worker = Worker(store, "w", ("echo",))
    await begin(store, opened, monkeypatch, SignalKind.PAUSE)
    for _ in range(20):
        assert await worker.ids(3) == []
    # The next directive waits for it, and finds everything paused
    assert await signal(store, SignalKind.RESUME) is Delivery.ACCEPTED
    told = Counter(event.kind for event in (await store.events(root="g", limit=99_999)).events)
    assert told[EventKind.PAUSED] == told[EventKind.RESUMED] == NODES + 1
    assert await drain(worker) == NODES


async def test_a_retry_that_was_begun_is_planned_and_finished_by_a_sweep(
    store: RedisStore, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.submit([goal("fan out")])
    worker = Worker(store, "w", ("echo",))
    await worker.fail(await worker.claim_one())
    other = await opened()

    async def plan(*wish: object) -> None:
        raise StoreUnavailable("it was killed")

    monkeypatch.setattr(other, "_plan", plan)
    with pytest.raises(StoreUnavailable):
        await signal(other, SignalKind.RETRY)
    assert await state(store) is State.FAILED
    await settle(store)
    assert await count(store) == {"ready": 1, "blocked": NODES - 1}
    assert await drain(worker) == NODES
    assert await state(store) is State.DONE


async def test_a_goal_that_was_begun_arrives_whole(
    store: RedisStore, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a client that is killed while its goal is stored
    other = await opened()
    dies_after_its_first_script(other, monkeypatch)
    with pytest.raises(StoreUnavailable):
        await other.submit([goal("chain")])
    # When a worker does what is there already, and others sweep
    worker = Worker(store, "w", ("echo",))
    await worker.done(await worker.claim_one())
    await settle(store)
    # Then it is whole, and submitted again it is there already
    (again,) = await store.submit([goal("chain")])
    assert again.verdict is Verdict.EXISTING
    assert again.nodes == dict(zip(NAMES, NAMES, strict=True))
    assert await count(store) == {"done": 1, "ready": 1, "blocked": NODES - 2}


async def test_a_purge_that_was_begun_is_finished_before_the_name_is_used_again(
    store: RedisStore, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.submit([goal()])
    await signal(store, SignalKind.CANCEL)
    other = await opened()
    dies_after_its_first_script(other, monkeypatch)
    with pytest.raises(StoreUnavailable):
        await other.purge(await store.now() + 1_000)
    assert await store.goal("g") is None
    assert await store.check() == []
    (new,) = await store.submit([goal()])
    assert new.verdict is Verdict.CREATED
    assert await count(store) == {"ready": NODES}
    assert await store.check() == []


async def test_two_who_cancel_at_the_same_time_share_the_work(store: RedisStore, opened: Opener) -> None:
    await store.submit([goal("chain")])
    told = await asyncio.gather(*(signal(each, SignalKind.CANCEL) for each in (store, await opened())))
    assert sorted(told) == [Delivery.ACCEPTED, Delivery.FINISHED]
    assert await count(store) == {"cancelled": NODES}


# -- waits -------------------------------------------------------------------------------------------------


async def test_a_wait_for_many_tasks_takes_time_in_proportion(server: RedisServer, store: RedisStore) -> None:
    async def time_for(children: int) -> int:
        """Microseconds of the server for the end of so many tasks that one task waits for."""
        parent = f"parent-{children}"
        await store.submit([Tree(spec(parent, agent=parent))])
        waiting = Worker(store, parent, (parent,))
        lease = await waiting.claim_one()
        ids = [f"{parent}.{number:024}" for number in range(children)]
        for first in range(0, children, 500):
            await store.record([Record(lease.hold, spawned=tuple(map(spec, ids[first : first + 500])))], LEASE)
        topics = tuple(f"task:{each}" for each in ids)
        await waiting.report(lease, Ending.WAIT, wait=Wait(topics, need=children))
        times(server)
        assert await drain(Worker(store, f"worker-{children}", ("echo",))) == children
        taken = sum(times(server))
        assert await state(store, parent) is State.READY
        return taken

    assert await time_for(6_000) < 30 * await time_for(600)
