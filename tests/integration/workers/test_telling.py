"""Progress and events of a task's own: told once, however often its program is run again."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest

from tenuto.agents.function import task_agent
from tenuto.stores.base import Store
from tenuto.stores.memory import MemoryStore
from tenuto.tasks.event import EventKind
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tenuto.workers.context import Context
from tests.integration.workers.rig import Clock, crashed, ended, submit, until, waits, working


async def told(store: Store, task_id: str) -> list[Any]:
    """What the task has told, in order: messages of its progress, and data of its events."""
    events = (await store.events(task_id=task_id)).events
    return [
        event.data["message"] if event.kind is EventKind.PROGRESS else event.data["data"]
        for event in events
        if event.kind in (EventKind.PROGRESS, EventKind.EMITTED)
    ]


def waits_for(topic: str, task: Task) -> bool:
    return waits(task) and task.wait is not None and topic in task.wait.on


async def note(number: int) -> int:
    return number


@task_agent
async def teller(ctx: Context) -> str:
    await ctx.progress(0.0, "begun")
    await ctx.step("one", note, 1)
    await ctx.emit("found", "one")
    await ctx.progress(0.5, "waiting")
    await ctx.wait_event("go")
    await ctx.progress(0.6, "on its way")

    async def branch(name: str) -> None:
        await ctx.progress(None, f"{name} waits")
        await ctx.wait_event(name)
        await ctx.progress(None, f"{name} is there")

    await ctx.gather(branch("a"), branch("b"))
    await ctx.step("two", note, 2)
    await ctx.progress(1.0, "done")
    return "done"


STRETCHES = [
    ["begun"],
    ["one", "waiting"],
    ["on its way", "a waits", "b waits", "a is there", "b is there"],
    ["done"],
]
"""Between them there is something on record."""
EVERYTHING = [each for stretch in STRETCHES for each in stretch]


async def test_what_a_program_comes_by_again_after_a_wait_is_told_once(store: Store) -> None:
    # Given a task that waits three times, each time run again from its start
    async with working(store, teller):
        (task_id,) = await submit(store, teller.create_task())
        for name in ("go", "a", "b"):
            await until(store, task_id, partial(waits_for, f"event:{name}"))
            await store.signal([Signal(task_id, SignalKind.EVENT, f"event:{name}")])
        # When it has ended
        task = await ended(store, task_id)
    # Then each thing was told once, in order
    assert task.state is State.DONE, task.error
    assert task.attempt == 4
    assert await told(store, task_id) == EVERYTHING


@pytest.mark.parametrize("answered", [False, True], ids=["request lost", "answer lost"])
async def test_only_what_was_told_last_is_told_again_after_a_crash(answered: bool) -> None:
    for after in itertools.count():
        # Given a task whose worker is cut off at one of its requests to the store
        clock = Clock()
        store = MemoryStore(clock=clock)
        await store.open()
        (task_id,) = await submit(store, teller.create_task())
        await store.signal([Signal(task_id, SignalKind.EVENT, f"event:{name}") for name in ("go", "a", "b")])
        was_cut = await crashed(store, task_id, [teller], after, answered)
        # When another worker takes over
        clock.forward(60)
        async with working(store, teller):
            task = await ended(store, task_id)
        # Then all was told, and what was told twice had nothing on record behind it
        assert task.state is State.DONE, (after, task.error)
        found = await told(store, task_id)
        assert list(dict.fromkeys(found)) == EVERYTHING, after
        again = {each for each in found if found.count(each) > 1}
        assert any(again.issubset(stretch) for stretch in STRETCHES), f"{after}: {found}"
        await store.close()
        if not was_cut:
            break
    assert after > 5, "the matrix covers every request of the task"
