"""Following events: in order, none left out, resumable, and over when the tasks are."""

from __future__ import annotations

import asyncio

import pytest

from tenuto.client import Client, watching
from tenuto.errors import InvalidInput, NotFound
from tenuto.tasks.event import Event, EventKind
from tests.integration.client.conftest import Hands, spec


async def everything(client: Client, *task_ids: str, after: str | None = None) -> list[Event]:
    async with asyncio.timeout(60):
        return [event async for event in client.subscribe_to_updates(task_ids=task_ids, after=after)]


async def test_a_late_subscriber_gets_the_outcome_and_the_end(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("t"))
    await hands.finish()
    events = await everything(client, "t")
    assert [event.kind for event in events] == [EventKind.CREATED, EventKind.STARTED, EventKind.DONE]
    assert [event.seq for event in events] == [1, 2, 3]


async def test_a_subscription_is_resumed_behind_any_event(client: Client, hands: Hands) -> None:
    await client.enqueue_batch(None, [spec("a"), spec("b")])
    await hands.finish()
    await hands.finish()
    events = await everything(client, "a", "b")
    assert len(events) == 6
    for position, event in enumerate(events):
        assert await everything(client, "a", "b", after=event.cursor) == events[position + 1 :]


async def test_events_are_pushed_as_they_happen(client: Client, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL", 60.0)
    await client.enqueue_task(None, spec("t"))
    following = asyncio.create_task(everything(client, "t"))
    await asyncio.sleep(0.05)
    await hands.finish()
    assert [event.kind for event in await following][-1] is EventKind.DONE


async def test_it_ends_only_when_all_have_ended(client: Client, hands: Hands) -> None:
    await client.enqueue_batch(None, [spec(f"t{number}") for number in range(250)])
    ids = [f"t{number}" for number in range(250)]
    following = asyncio.create_task(everything(client, *ids))
    for lease in await hands.claim(slots=250):
        await hands.done(lease)
    events = await following
    assert len(events) == 750
    for task_id in ids:
        assert [event.seq for event in events if event.task_id == task_id] == [1, 2, 3]


async def test_events_of_an_owner_of_some_kinds_from_now_on(client: Client, hands: Hands) -> None:
    await client.enqueue_task(None, spec("before", owner="ada"))
    feed = client.subscribe_to_updates("ada", event_types=["CREATED", EventKind.CANCELLED], after="now")
    first = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0.05)
    await client.enqueue_task(None, spec("bobs", owner="bob"))
    await client.enqueue_task(None, spec("t", owner="ada"))
    await client.cancel_task("t")
    async with asyncio.timeout(60):
        assert ((await first).task_id, (await anext(feed)).kind) == ("t", EventKind.CANCELLED)
    await feed.aclose()


async def test_what_cannot_be_followed(client: Client) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        await everything(client, "nobody")
    with pytest.raises(InvalidInput, match="'finished' is no type of event"):
        await anext(client.subscribe_to_updates(event_types=["finished"]))
