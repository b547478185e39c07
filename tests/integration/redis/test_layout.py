"""What lies in the server: the keys as `redis-cli` shows them, what a purge leaves, and requests sent twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

from tenuto.errors import InvalidInput
from tenuto.stores.base import Store, TaskFilter, TimeToLive, WorkerInfo
from tenuto.stores.redis import RedisStore
from tenuto.stores.redis.address import FIRST_WORDS
from tenuto.stores.redis.connection import Connections
from tenuto.tasks.goal import Tree
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Answer, Step
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord, Task, TaskSpec, Unique
from tests.conformance.stage import START, Stage, VirtualClock, raw, spec
from tests.servers.redis import RedisServer, installations

LASTING = {
    "store",
    "virtual",
    "closed:0:echo",
    "limits",
    "workers",
    "workers:seen",
    "limit:db",
    "gate:db",
    "keys",
    "keys:age",
}
"""What is no task's: the clock, shares, limits, workers, and idempotency keys, which have their own time to live."""


@pytest.fixture(params=installations())
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(request.param) as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def store(server: RedisServer, clock: VirtualClock) -> AsyncIterator[Store]:
    store = RedisStore(server.url(), clock=clock)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def stage(store: Store, clock: VirtualClock) -> Stage:
    return Stage(store, clock)


async def test_the_keys_of_the_page_tell_the_story(stage: Stage, client: Any) -> None:
    await stage.add_goal([spec("a", agent="writer", owner="ann"), spec("b", agent="critic")], "a>b")
    worker = stage.worker("writer")
    lease = await worker.claim_one()
    await stage.store.renew(WorkerInfo("w", ("writer",), 4), [], 1)
    await worker.record(lease, Step("s", 0, value=raw(1)), events=(("progress", raw({"fraction": 0.5})),))

    nodes = client.hgetall("dag:goal-1:nodes")
    assert {name: json.loads(text)["task"] for name, text in nodes.items()} == {"a": "a", "b": "b"}
    assert {name: json.loads(text) for name, text in client.hgetall("dag:goal-1:deps").items()} == {"b": ["a"]}
    task = client.hgetall("task:a")
    told = {name: task[name] for name in ("status", "owner", "goal", "agent", "attempt", "lease_expires")}
    assert told == {
        "status": "running",
        "owner": "ann",
        "goal": "goal-1",
        "agent": "writer",
        "attempt": "1",
        "lease_expires": str(START + 30_000),
    }
    assert json.loads(task["progress"])["fraction"] == 0.5
    assert client.get("task:a:lock") == worker.name
    assert 0 < client.pttl("task:a:lock") <= 30_000
    assert client.get("agent:writer:registered") == client.get("agent:writer:heartbeat") == str(START)
    assert client.zrange("agent:writer:active", 0, -1) == ["a"]

    await worker.retry(lease, delay=5)
    assert json.loads(client.hget("task:a", "last_error"))["message"] == "boom"
    assert client.exists("task:a:lock") == 0
    await stage.after(5)
    await worker.done(await worker.claim_one(), {"text": "hello"})
    assert json.loads(client.hget("task:a", "artifacts")) == {"text": "hello"}
    assert client.exists("task:a:lock") == 0


async def test_a_purge_leaves_nothing_but_what_is_no_tasks(stage: Stage, client: Any) -> None:
    await stage.limit("db", concurrency=1)
    await stage.store.renew(WorkerInfo("w", ("echo",), 4), [], 1)
    await stage.add_goal(
        [spec("a", limits=("db",), tags=("x",), owner="ann"), spec("b", limits=("db",)), spec("c")],
        "a>c",
        idempotency_key="k",
        unique=Unique("u"),
    )
    await stage.add(
        Tree(spec("large", deadline=START + 60_000), blobs={"a" * 40: b"\x00\xff"}), spec("later", run_at=START + 9)
    )
    worker = stage.worker()
    for lease in await worker.claim(2):
        child = spec(f"{lease.root}.child-of-{lease.task_id}")
        await worker.record(lease, Step("s", 0, error=ErrorRecord("E", "e")), spawned=(child,))
        await stage.signal(SignalKind.STEER, lease.task_id, data="left", key="m")
        await worker.wait(lease, "event:go", f"task:{child.id}", need=2)
    await stage.after(10)
    await worker.run_all()
    for task_id in ("a", "b", "c", "large"):
        await stage.signal(SignalKind.EVENT, task_id, topic="event:go")
    await worker.run_all()
    assert {task.state for task in (await stage.store.tasks(TaskFilter())).tasks} == {State.DONE}
    stage.clock.move(1)
    assert (await stage.sweep(TimeToLive(done=0))).purged == 3
    assert await worker.claim(5) == []

    words = {key.partition(":")[0] for key in client.keys("*") if ":" in key}
    assert words <= FIRST_WORDS, "no namespace may be one of them"
    left = {key for key in client.keys("*") if not key.startswith(("reply:", "agent:echo:"))}
    assert left <= LASTING | {"events"}
    assert client.xlen("events") == 0
    assert [key for key in client.keys("agent:*") if client.type(key) != "string"] == []
    await stage.sweep(TimeToLive(keys=-1))
    assert client.exists("keys", "keys:age") == 0


async def test_a_heartbeat_leaves_no_answer_behind(stage: Stage, client: Any) -> None:
    """It may be made again as often as one likes, and what it tells, whole inboxes, may be large."""
    await stage.add(spec("a"))
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(SignalKind.STEER, "a", data="x" * 10_000)
    before = set(client.keys("reply:*"))
    (renewal,) = await worker.renew(lease)
    assert len(renewal.messages) == 1
    assert set(client.keys("reply:*")) == before


async def test_text_that_is_none_harms_nobody_else(stage: Stage) -> None:
    await stage.add(spec("a"))
    asked = (stage.store.journal("\ud800"), stage.store.task("a"), stage.store.tasks(TaskFilter(owner="\ud800")))
    journal, task, page = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(journal, InvalidInput)
    assert isinstance(page, InvalidInput)
    assert isinstance(task, Task)


@pytest.mark.parametrize("name", ["x:lock", "x:lock:", "x%3Alock", "x:lock::"])
async def test_names_that_look_like_keys_harm_nobody(stage: Stage, name: str) -> None:
    await stage.add(spec("x", agent="a:0", owner="b"), spec(name, agent="a", owner="0:b"))
    first, second = stage.worker("a:0"), stage.worker("a")
    leases = [await first.claim_one(), await second.claim_one()]
    assert [lease.task_id for lease in leases] == ["x", name]
    for worker, lease in zip((first, second), leases, strict=True):
        assert await worker.done(lease) is Answer.ACCEPTED
    assert await stage.states("x", name) == ["done", "done"]


async def test_a_request_that_is_sent_twice_is_carried_out_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Connections.ask

    def twice(self: Connections, commands: Any, **how: Any) -> list[Any]:
        """As if the first answer were lost on its way."""
        ask(self, commands, **how)
        return ask(self, commands, **how)

    monkeypatch.setattr(Connections, "ask", twice)
    await stage.add(spec("a"), spec("b"))
    await stage.store.put_limit(Limit("db", concurrency=1))
    assert await stage.store.drop_limit("db")
    worker = stage.worker()
    lease = await worker.claim_one()
    delivered = await stage.store.signal([Signal("a", SignalKind.STEER, data=1)] * 2)
    assert {each.delivery.value for each in delivered} == {"accepted"}
    assert len(await stage.store.inbox("a")) == 2
    await worker.record(lease, events=(("note", raw(1)),))
    assert await worker.done(lease) is Answer.ACCEPTED
    assert await stage.kinds("a") == ["created", "started", "signalled", "signalled", "emitted", "done"]
    assert (await stage.signal(SignalKind.PAUSE, "b")).delivery.value == "accepted"
    assert await stage.store.purge(stage.clock.move(1)) == 1


async def test_a_task_with_many_events_is_read_in_order(stage: Stage, client: Any) -> None:
    await stage.add(TaskSpec(id="a", agent="echo"))
    worker = stage.worker()
    lease = await worker.claim_one()
    for _ in range(3):
        await worker.record(lease, events=tuple(("note", raw(number)) for number in range(100)))
    assert client.llen("cursors:a") == 4
    assert [event.seq for event in await stage.events("a")] == list(range(1, 303))
    await worker.record(lease, spawned=(spec("a.child"),))
    assert [event.seq for event in await stage.events(None, root="a")][:302] == list(range(1, 303))
