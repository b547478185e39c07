"""The feed: dense numbers for each task, cursors that can be resumed at any time, and nothing skipped."""

from __future__ import annotations

import asyncio

import pytest

from tenuto.errors import InvalidInput
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.outcome import Step
from tenuto.tasks.signal import SignalKind
from tests.conformance.stage import START, Stage, raw, spec


async def busy(stage: Stage) -> None:
    """Three tasks of two owners and a goal, with some life."""
    await stage.add(spec("a", owner="ann"), spec("b", owner="bob"), spec("c", owner="ann"))
    await stage.add_goal([spec("n1", owner="bob"), spec("n2", owner="ann")], "n1>n2", owner="ann")
    worker = stage.worker()
    leases = {lease.task_id: lease for lease in await worker.claim(10)}
    await worker.record(leases["a"], Step("s", 0), events=(("note", raw(1)),), spawned=(spec("a.x", owner="ann"),))
    await worker.retry(leases["b"], 0)
    await worker.fail(leases["n1"])
    await stage.signal(SignalKind.CANCEL, "c")
    await stage.after(10)
    await worker.run_all()
    await worker.done(leases["a"])


def plain(events: list[Event]) -> list[tuple[str, int, str]]:
    return [(event.task_id, event.seq, event.kind.value) for event in events]


async def read_all(stage: Stage, limit: int, **where: object) -> list[Event]:
    found: list[Event] = []
    cursor = None
    while True:
        page = await stage.store.events(cursor, limit=limit, **where)  # type: ignore[arg-type]  # filters by name
        found += page.events
        if not page.events:
            return found
        cursor = page.cursor


async def test_the_numbers_of_each_task_are_dense_and_its_events_in_order(stage: Stage) -> None:
    await busy(stage)
    by_task: dict[str, list[Event]] = {}
    for event in (await stage.store.events()).events:
        by_task.setdefault(event.task_id, []).append(event)
    assert set(by_task) == {"a", "b", "c", "goal-1", "n1", "n2", "a.x"}
    for task_id, events in by_task.items():
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert (await stage.task(task_id)).seq == len(events)
        assert [event.at for event in events] == sorted(event.at for event in events)
        assert {event.owner for event in events} == {(await stage.task(task_id)).owner}


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1_000])
async def test_pages_of_any_size_show_the_same_feed(stage: Stage, limit: int) -> None:
    await busy(stage)
    assert plain(await read_all(stage, limit)) == plain(list((await stage.store.events()).events))


async def test_every_event_is_a_place_to_go_on_from(stage: Stage) -> None:
    await busy(stage)
    events = (await stage.store.events()).events
    assert len({event.cursor for event in events}) == len(events)
    for position, event in enumerate(events):
        rest = await stage.store.events(event.cursor)
        assert plain(list(rest.events)) == plain(list(events[position + 1 :]))


async def test_a_cursor_at_the_end_waits_for_what_comes(stage: Stage) -> None:
    await busy(stage)
    end = (await stage.store.events()).cursor
    empty = await stage.store.events(end)
    assert (empty.events, empty.cursor) == ((), end)
    now = (await stage.store.events("now")).cursor
    await stage.add(spec("new"))
    for cursor in (end, now, empty.cursor):
        assert plain(list((await stage.store.events(cursor)).events)) == [("new", 1, "created")]


async def test_now_means_from_the_latest_on(stage: Stage) -> None:
    assert (await stage.store.events("now")).events == ()
    await busy(stage)
    page = await stage.store.events("now")
    assert page.events == ()
    assert (await stage.store.events(page.cursor)).events == ()


async def test_a_feed_can_be_narrowed_down(stage: Stage) -> None:
    await busy(stage)
    everything = list((await stage.store.events()).events)

    async def found(**where: object) -> list[tuple[str, int, str]]:
        whole = plain(await read_all(stage, 1_000, **where))
        assert plain(await read_all(stage, 2, **where)) == whole, "also page by page"
        return whole

    assert await found(task_id="a") == plain([event for event in everything if event.task_id == "a"])
    assert await found(root="goal-1") == plain([e for e in everything if e.task_id in ("goal-1", "n1", "n2")])
    assert await found(root="a") == plain([event for event in everything if event.task_id in ("a", "a.x")])
    assert await found(owner="bob") == plain([event for event in everything if event.owner == "bob"])
    final = (EventKind.DONE, EventKind.FAILED, EventKind.CANCELLED)
    assert await found(kinds=final) == plain([event for event in everything if event.kind in final])
    assert await found(owner="ann", kinds=final, root="goal-1") == plain(
        [e for e in everything if e.owner == "ann" and e.kind in final and e.task_id in ("goal-1", "n2")]
    )
    assert await found(task_id="nobody") == []
    assert await found(root="nobody") == []
    assert await found(owner="") == []


async def test_a_narrow_feed_gets_ahead_also_when_nothing_matches(stage: Stage) -> None:
    await busy(stage)
    page = await stage.store.events(owner="nobody")
    assert page.events == ()
    await stage.add(spec("mine", owner="nobody"))
    assert plain(list((await stage.store.events(page.cursor, owner="nobody")).events)) == [("mine", 1, "created")]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, "now ", "0x1", "\uff11"])
async def test_what_is_no_cursor_is_refused(stage: Stage, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        await stage.store.events(cursor)


async def test_a_reader_that_is_cut_off_and_resumed_many_times_sees_everything(stage: Stage) -> None:
    """Twenty clients write while a reader reads small pages; in the end it has seen every event once, in order."""
    written = asyncio.Event()
    seen: list[Event] = []

    async def write() -> None:
        async def one(number: int) -> None:
            await stage.add(*(spec(f"t{number}-{each}") for each in range(10)))
            worker = stage.worker()
            for lease in await worker.claim(10):
                await worker.done(lease)

        await asyncio.gather(*(one(number) for number in range(20)))
        written.set()

    async def read() -> None:
        cursor = None
        while True:
            over = written.is_set()
            page = await stage.store.events(cursor, limit=7)
            seen.extend(page.events)
            cursor = page.cursor
            if over and not page.events:
                return
            await asyncio.sleep(0)

    await asyncio.gather(write(), read())
    assert plain(seen) == plain(await read_all(stage, 1_000))
    assert len(seen) == 600
    assert len({(event.task_id, event.seq) for event in seen}) == 600


async def test_each_run_has_exactly_one_final_event(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    for ending in ("done", "fail", "cancel"):
        if ending == "cancel":
            await worker.claim_one()
            await stage.signal(SignalKind.CANCEL)
        else:
            await getattr(worker, ending)(await worker.claim_one())
        await stage.signal(SignalKind.RETRY)
    kinds = await stage.kinds()
    assert kinds == [
        "created",
        *["started", "done", "retried"],
        *["started", "failed", "retried"],
        *["started", "cancelled", "retried"],
    ]


async def test_events_tell_when_and_in_which_attempt(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    stage.clock.move(5)
    lease = await worker.claim_one()
    stage.clock.move(5)
    await worker.done(lease)
    assert [(event.at - START, event.attempt) for event in await stage.events()] == [(0, 0), (5, 1), (10, 1)]
    assert (await stage.events())[1].data == {"worker": worker.name}
