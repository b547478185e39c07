"""Results, status and lists: what a waiter gets, however the task ends and however many wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tenuto.client import Client, endings
from tenuto.errors import (
    InvalidInput,
    NotFound,
    StoreClosed,
    TaskCancelled,
    TaskFailed,
    Unstorable,
    WaitTimeout,
)
from tenuto.stores.base import Hint, Store
from tenuto.stores.memory import MemoryStore
from tenuto.tasks.states import State, Status
from tenuto.tasks.task import Task
from tests.integration.client.conftest import Hands, spec


@dataclass
class Point:
    x: int
    y: int


async def test_status_goes_from_queued_to_completed(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("t"))
    assert f"{await client.get_task_status('t')}" == "queued"
    [lease] = await hands.claim()
    assert await client.get_task_status("t") is Status.PROCESSING
    await hands.done(lease)
    assert await client.get_task_status("t") is Status.COMPLETED


async def test_data_are_python_values_and_moments_in_utc(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("t", {"query": "?"}, owner="ada", tags=("x",), metadata={"n": 1}))
    await hands.finish(result=[1, 2])
    data = await client.get_task_data("t")
    assert data is not None
    assert (data.payload, data.result, data.owner_id) == ({"query": "?"}, [1, 2], "ada")
    assert (data.state, data.tags, data.metadata, data.error) == (State.DONE, ("x",), {"n": 1}, None)
    assert data.finished_at is not None
    assert data.created_at.tzinfo is UTC
    assert datetime.now(UTC) - data.finished_at < timedelta(seconds=30)


async def test_unknown_ids(client: Client) -> None:
    assert await client.get_task_data("nobody") is None
    for verb in (client.get_task_status, client.get_task_result, client.why, client.journal, client.inbox):
        with pytest.raises(NotFound, match="'nobody'"):
            await verb("nobody")


async def test_a_result_is_pushed_long_before_the_safety_poll(
    client: Client, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a poll that would come too late for this test
    monkeypatch.setattr(endings, "POLL", 60.0)
    await client.enqueue_task(None, spec("t"))
    waiting = asyncio.create_task(client.get_task_result("t", timeout=60))
    [lease] = await hands.claim()
    # When the task ends
    await hands.done(lease, "the result")
    # Then the waiter has it at once
    assert await waiting == "the result"


async def test_a_lost_hint_costs_a_poll_and_no_result(
    store: Store, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(listener: Callable[[Hint], None]) -> Callable[[], None]:
        return lambda: None

    monkeypatch.setattr(store, "listen", deaf)
    async with Client(store) as client:
        await client.enqueue_task(None, spec("t"))
        waiting = asyncio.create_task(client.get_task_result("t", timeout=60))
        await hands.finish(result=7)
        assert await waiting == 7


async def test_a_finished_task_answers_at_once(client: Client, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "POLL", 600.0)
    await client.enqueue_task(None, spec("t"))
    await hands.finish(result=7)
    assert await client.get_task_result("t", timeout=60) == 7


async def test_many_waiters_share_one_listener_and_few_reads(
    store: Store, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    listeners, reads = 0, 0
    listen, by_id = store.listen, store.tasks_by_id

    def listening(listener: Callable[[Hint], None]) -> Callable[[], None]:
        nonlocal listeners
        listeners += 1
        return listen(listener)

    async def reading(task_ids: Sequence[str]) -> Mapping[str, Task]:
        nonlocal reads
        reads += 1
        return await by_id(task_ids)

    monkeypatch.setattr(store, "listen", listening)
    monkeypatch.setattr(store, "tasks_by_id", reading)
    monkeypatch.setattr(endings, "POLL", 60.0)
    async with Client(store) as client:
        ids = await client.enqueue_batch(None, [spec() for _ in range(500)])
        waiting = [asyncio.create_task(client.get_task_result(each, timeout=60)) for each in ids * 2]
        await asyncio.sleep(0)
        leases = await hands.claim(slots=500)
        for lease in leases:
            await hands.done(lease, lease.task_id)
        assert await asyncio.gather(*waiting) == ids * 2
    assert listeners == 1
    assert reads < 600


async def test_the_result_as_a_type(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("t"))
    await hands.finish(result={"x": 1, "y": 2})
    assert await client.get_task_result("t", type=Point) == Point(1, 2)
    with pytest.raises(Unstorable, match="does not fit int"):
        await client.get_task_result("t", type=int)


async def test_a_large_result_comes_back_whole(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("t"))
    await hands.finish(result="x" * 100_000)
    assert await client.get_task_result("t", timeout=60) == "x" * 100_000


async def test_failure_and_cancellation_are_raised_with_their_reason(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("broken"))
    [lease] = await hands.claim()
    await hands.fail(lease, "no paper")
    with pytest.raises(TaskFailed, match="task 'broken' failed: ValueError: no paper") as failed:
        await client.get_task_result("broken", timeout=60)
    assert failed.value.error.type == "ValueError"

    await client.enqueue_task(None, spec("stopped"))
    await client.cancel_task("stopped", "not needed")
    with pytest.raises(TaskCancelled, match="was cancelled: not needed") as cancelled:
        await client.get_task_result("stopped", timeout=60)
    assert cancelled.value.reason == "not needed"


async def test_a_wait_ends_in_time_and_a_paused_task_is_waited_for(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("t"))
    await client.pause_task("t")
    with pytest.raises(WaitTimeout, match=r"'t' has not finished within 0\.05 s; it goes on"):
        await client.get_task_result("t", timeout=0.05)
    waiting = asyncio.create_task(client.get_task_result("t", timeout=60))
    await client.resume_task("t")
    await hands.finish(result="after all")
    assert await waiting == "after all"
    with pytest.raises(InvalidInput, match="timeout must be between"):
        await client.get_task_result("t", timeout=-1)


async def test_the_end_of_the_client_ends_its_waiters(store: Store) -> None:
    client = Client(store)
    await client.enqueue_task(None, spec("t"))
    waiting = asyncio.create_task(client.get_task_result("t"))
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(StoreClosed):
        await waiting


def test_one_client_serves_several_loops_in_several_threads() -> None:
    client = Client(MemoryStore())
    hands = Hands(client.store)
    asyncio.run(client.enqueue_batch(None, [spec(f"t{number}") for number in range(4)]))
    got: dict[int, object] = {}

    def wait(number: int) -> None:
        got[number] = asyncio.run(client.get_task_result(f"t{number}", timeout=60))

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()

    async def work() -> None:
        for lease in await hands.claim(slots=4):
            await hands.done(lease, lease.task_id)

    asyncio.run(work())
    for thread in threads:
        thread.join(60)
    asyncio.run(client.close())
    assert got == {number: f"t{number}" for number in range(4)}


async def test_lists_are_filtered_and_paged(client: Client, hands: Hands) -> None:
    await client.enqueue_batch(None, [spec(f"t{number}", owner="ada", tags=("x",)) for number in range(5)])
    await client.enqueue_task(None, spec("other", owner="bob"))
    first = await client.list_tasks(owner_id="ada", tag="x", limit=3)
    rest = await client.list_tasks(owner_id="ada", tag="x", limit=3, cursor=first.cursor)
    assert [task.id for task in (*first, *rest)] == ["t4", "t3", "t2", "t1", "t0"]
    assert rest.cursor is None
    assert [task.id for task in await client.list_tasks(states=["READY"], owner_id="bob")] == ["other"]
    with pytest.raises(InvalidInput, match="'lost' is no state: use one of blocked, ready"):
        await client.list_tasks(states=["lost"])


async def test_waiting_does_not_keep_the_loop_busy(client: Client) -> None:
    await client.enqueue_task(None, spec("t"))
    before = time.process_time()
    with pytest.raises(WaitTimeout):
        await client.get_task_result("t", timeout=1.0)
    assert time.process_time() - before < 0.6
