"""How far the children of a task are: counted, and followed while they end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest

from tenuto.client import BatchProgress, Client
from tenuto.errors import NotFound
from tenuto.stores.base import Store
from tenuto.tasks.goal import Tree
from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Answer, Record, Step
from tenuto.tasks.task import TaskSpec
from tests.integration.client.conftest import Hands, spec


async def a_parent(client: Client, store: Store, hands: Hands, children: Sequence[TaskSpec]) -> Lease:
    """A running task that has spawned `children`."""
    await client.enqueue_task(None, spec("parent", agent="parents"))
    [lease] = await hands.claim("parents")
    await spawn(store, lease, "spawn_batch#0", children)
    return lease


async def spawn(store: Store, lease: Lease, key: str, children: Sequence[TaskSpec]) -> None:
    step = Step(key, 0, value=msgspec.Raw(b"null"))
    [recorded] = await store.record([Record(lease.hold, (step,), spawned=tuple(children))], 60_000)
    assert recorded.answer is Answer.ACCEPTED


def child(number: int, **fields: object) -> TaskSpec:
    return spec(f"parent.{number}", **fields)


async def test_children_are_counted_by_status(client: Client, store: Store, hands: Hands) -> None:
    # Given a task with five children, one of which has a child of its own
    await a_parent(client, store, hands, [child(number) for number in range(5)])
    done, failed, running = await hands.claim(slots=3)
    await spawn(store, running, "spawn#0", [spec("parent.2.0", agent="others")])

    # When three of them have ended, each in its way
    await hands.done(done)
    await hands.fail(failed)
    await client.cancel_task("parent.4")

    # Then each is counted once, and only the task's own children are
    progress = await client.get_batch_progress("parent")
    assert progress == BatchProgress(queued=1, processing=1, completed=1, failed=1, cancelled=1)
    assert (progress.total, progress.ended, progress.fraction) == (5, 3, 0.6)


async def test_a_batch_is_followed_to_the_end_of_its_task(client: Client, store: Store, hands: Hands) -> None:
    # Given somebody who follows a task with two children
    lease = await a_parent(client, store, hands, [child(1), child(2)])
    followed = client.follow_batch("parent")
    told = [await anext(followed)]

    # When a third is spawned, all of them end, and the task does
    await spawn(store, lease, "spawn#1", [child(3)])
    await hands.finish()
    await hands.finish()
    [last] = await hands.claim()
    await hands.fail(last)
    await hands.done(lease)
    async with asyncio.timeout(60):
        told += [progress async for progress in followed]

    # Then it begins with what there was, and ends with all of it; what it tells is new each time
    assert told[0] == BatchProgress(queued=2)
    assert told[-1] == BatchProgress(completed=2, failed=1)
    assert all(before != after for before, after in pairwise(told))


async def test_a_large_batch_is_read_in_pages(client: Client, store: Store, hands: Hands) -> None:
    # Given more children than one page of a list, and more events than one page of a feed
    await a_parent(client, store, hands, [child(number) for number in range(2_100)])

    # When somebody begins to follow it, and then all of it is cancelled
    followed = client.follow_batch("parent")
    first = await anext(followed)
    await client.cancel_task("parent")
    async with asyncio.timeout(60):
        last = [progress async for progress in followed][-1]

    # Then none is left out
    assert (first, last) == (BatchProgress(queued=2_100), BatchProgress(cancelled=2_100))


async def test_a_task_without_children_is_a_batch_of_none(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("alone"))
    await hands.finish()
    assert await client.get_batch_progress("alone") == BatchProgress()
    assert [each.fraction async for each in client.follow_batch("alone")] == [1.0]


async def test_the_nodes_of_a_goal_are_its_batch(client: Client, store: Store, hands: Hands) -> None:
    goal = Tree(spec("goal", agent=""), (spec("a"), spec("b")), ())
    await store.submit([goal])
    await hands.finish()
    assert await client.get_batch_progress("goal") == BatchProgress(queued=1, completed=1)


async def test_an_unknown_task_has_no_batch(client: Client) -> None:
    with pytest.raises(NotFound, match="there is no task 'nobody'"):
        await client.get_batch_progress("nobody")
    with pytest.raises(NotFound, match="there is no task 'nobody'"):
        await anext(client.follow_batch("nobody"))
