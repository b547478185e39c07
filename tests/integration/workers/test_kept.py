"""What a journal keeps when records are refused, cancelled or not waited for: nothing that counts is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec

from tenuto.agents.function import task_agent
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tenuto.workers.context import Context
from tests.integration.workers.rig import ended, submit, until, working

ONCE_MORE = RetryPolicy(max_retries=1, base=1)


class Refused(Exception):
    """A failure that programs catch."""


def value(task: Task) -> Any:
    assert task.state is State.DONE, task.error or task.reason
    return msgspec.json.decode(task.result or b"null")


async def test_a_large_value_of_a_pure_step_is_at_hand_before_it_is_stored(store: Store) -> None:
    @task_agent(max_retries=0)
    async def large(ctx: Context) -> int:
        return len(await ctx.step("text", lambda: "x" * 100_000, effect="pure"))

    async with working(store, large):
        (task_id,) = await submit(store, large.create_task())
        assert value(await ended(store, task_id)) == 100_000


async def test_nothing_is_done_on_the_strength_of_a_failure_that_is_forgotten(store: Store) -> None:
    ran: Counter[str] = Counter()

    def first() -> str:
        ran["first"] += 1
        if ran["first"] == 1:
            raise Refused("not by this one")
        return "first"

    def second() -> str:
        ran["second"] += 1
        if ran["second"] == 1:
            raise OSError("the line is down")
        return "second"

    @task_agent(retry=ONCE_MORE)
    async def falls_back(ctx: Context) -> str:
        try:
            return str(await ctx.step("first", first))
        except Refused:
            return str(await ctx.step("second", second))

    async with working(store, falls_back):
        (task_id,) = await submit(store, falls_back.create_task())
        assert value(await ended(store, task_id)) == "second"
    assert ran == {"first": 1, "second": 2}, "the second has begun because the first had failed"


async def test_a_version_is_kept_when_the_first_record_is_refused(store: Store) -> None:
    @task_agent(version="1", retry=ONCE_MORE)
    async def refused(ctx: Context) -> str:
        child = msgspec.structs.replace(refused.create_task(), unique=None, idempotency_key="its own")
        try:
            await ctx.spawn(child)
        except InvalidInput:
            await ctx.step("instead", str)
        if ctx.attempt == 1:
            raise OSError("the worker's own trouble")
        return "ended"

    async with working(store, refused):
        (task_id,) = await submit(store, refused.create_task())
        task = await until(store, task_id, lambda task: task.is_final or task.paused)
    assert "version" not in task.reason


async def test_a_version_is_kept_when_the_first_record_is_cancelled(store: Store) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    class Slow:
        """A store whose first record takes its time."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def record(self, *given: Any) -> Any:
            if not asked.is_set():
                asked.set()
                await go_on.wait()
            return await store.record(*given)

    @task_agent(version="1", retry=ONCE_MORE)
    async def hasty(ctx: Context) -> str:
        if ctx.attempt == 1:
            await ctx.progress(0.1)
            await asked.wait()
            first = asyncio.create_task(ctx.step("first", str))
            done, _ = await asyncio.wait([first], timeout=0.05)  # its record waits behind the one under way
            assert not done
            first.cancel()
            await asyncio.wait([first])
            go_on.set()
        else:
            await ctx.step("first", str)
        await ctx.step("second", str)
        if ctx.attempt == 1:
            raise OSError("the worker's own trouble")
        return "ended"

    async with working(Slow(), hasty):
        (task_id,) = await submit(store, hasty.create_task())
        task = await until(store, task_id, lambda task: task.is_final or task.paused)
    assert "version" not in task.reason


async def test_who_waits_for_a_record_that_cannot_be_made_is_told_why(store: Store) -> None:
    class Broken:
        """A store that raises what no store should."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def record(self, *given: Any) -> Any:
            raise RuntimeError("the engine has a fault")

    @task_agent(max_retries=0)
    async def steps(ctx: Context) -> None:
        await ctx.step("first", str)

    async with working(Broken(), steps):
        (task_id,) = await submit(store, steps.create_task())
        task = await ended(store, task_id)
    assert task.error is not None
    assert (task.error.type, task.error.message) == ("RuntimeError", "the engine has a fault")
