"""Pausing a task whose steps are in flight: they end, and how they ended is kept."""

from __future__ import annotations

import asyncio
from collections import Counter

from tenuto.agents.function import task_agent
from tenuto.stores.base import Store
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tenuto.workers.context import Context
from tests.integration.workers.rig import ended, submit, until, working


def handed_back(task: Task) -> bool:
    return task.paused and task.state is State.READY


async def pause(store: Store, task_id: str) -> None:
    await store.signal([Signal(task_id, SignalKind.PAUSE, reason="wait")])


async def resume(store: Store, task_id: str) -> None:
    await store.signal([Signal(task_id, SignalKind.RESUME)])


async def test_a_branch_in_flight_ends_when_another_one_meets_the_pause(store: Store) -> None:
    ran: Counter[str] = Counter()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def pays() -> str:
        ran["pays"] += 1
        begun.set()
        await go_on.wait()
        return "paid"

    @task_agent
    async def looks(ctx: Context) -> str:
        async def quick() -> None:
            await ctx.step("before", begun.wait)
            if ctx.attempt == 1:
                await pause(store, ctx.task_id)
            await ctx.step("after", str)

        paid, _ = await ctx.gather(ctx.step("pays", pays, effect="once"), quick())
        return str(paid)

    async with working(store, looks):
        (task_id,) = await submit(store, looks.create_task())
        await until(store, task_id, lambda task: task.paused)
        loop = asyncio.get_running_loop()
        loop.call_later(0.2, go_on.set)
        await until(store, task_id, handed_back)
        assert go_on.is_set(), "it was not interrupted"
        await resume(store, task_id)
        task = await until(store, task_id, lambda task: task.is_final or task.paused)
        assert task.state is State.DONE, task.reason
    assert ran == {"pays": 1}


async def test_a_step_that_runs_once_and_fails_during_a_pause_is_known_to_have_failed(store: Store) -> None:
    ran: Counter[str] = Counter()

    async def refuse(task_id: str) -> None:
        ran["refuse"] += 1
        await pause(store, task_id)
        await asyncio.sleep(0.3)  # the worker hears of it
        raise ValueError("refused")

    @task_agent
    async def pays(ctx: Context) -> str:
        try:
            await ctx.step("pay", refuse, ctx.task_id, effect="once")
        except ValueError as error:
            return str(error)
        return "paid"

    async with working(store, pays):
        (task_id,) = await submit(store, pays.create_task())
        await until(store, task_id, handed_back)
        await resume(store, task_id)
        task = await until(store, task_id, lambda task: task.is_final or task.paused)
        assert task.state is State.DONE, task.reason
        await ended(store, task_id)
    assert ran == {"refuse": 1}
