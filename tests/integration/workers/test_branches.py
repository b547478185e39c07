"""Branches that a failing sibling ended: the program sees the failure, and replay does not begin them again."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest

from tenuto.agents.function import task_agent
from tenuto.stores.base import Store
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.workers.context import Context
from tenuto.workers.steps import Effect
from tests.integration.workers.rig import submit, until, waits, working


@pytest.mark.parametrize("effect", ["idempotent", "once"])
@pytest.mark.parametrize("nested", [False, True])
async def test_a_branch_that_was_ended_by_a_failing_one_does_not_begin_again(
    store: Store, effect: Effect, nested: bool
) -> None:
    ran: Counter[str] = Counter()
    mailing = asyncio.Event()

    async def mails() -> None:
        ran["mails"] += 1
        mailing.set()
        await asyncio.sleep(30)

    async def bad() -> None:
        ran["bad"] += 1
        await mailing.wait()
        raise ValueError("bad")

    @task_agent(max_retries=0)
    async def broken(ctx: Context) -> str:
        async def both() -> str:
            try:
                await ctx.gather(ctx.step("mails", mails, effect=effect), ctx.step("bad", bad))
            except ValueError as error:
                return str(error)
            return ""

        (found,) = await ctx.gather(both()) if nested else [await both()]
        return f"{found} {await ctx.wait_event('go')}"

    async with working(store, broken):
        (task_id,) = await submit(store, broken.create_task())
        await until(store, task_id, lambda task: waits(task) or task.is_final)
        await store.signal([Signal(task_id, SignalKind.EVENT, "event:go", "went on")])
        task = await until(store, task_id, lambda task: task.is_final or task.paused)
    assert task.state is State.DONE, task.error or task.reason
    assert msgspec.json.decode(task.result or b"") == "bad went on"
    assert ran == {"mails": 1, "bad": 1}


async def test_a_failure_that_does_not_come_again_is_a_mismatch(store: Store) -> None:
    ran: Counter[str] = Counter()

    @task_agent(max_retries=0)
    async def fickle(ctx: Context) -> None:
        async def fails_once() -> None:
            ran["fickle"] += 1
            await asyncio.sleep(0.01)
            if ran["fickle"] == 1:
                raise ValueError("not the second time")

        try:
            await ctx.gather(ctx.step("long", asyncio.sleep, 30), fails_once())
        except ValueError:
            await ctx.step("after", str)
        await ctx.wait_event("go", timeout=0.05)

    async with working(store, fickle):
        (task_id,) = await submit(store, fickle.create_task())
        task = await until(store, task_id, lambda task: task.paused)
        assert "ended the others" in task.reason


async def test_a_branch_that_waited_when_another_failed_does_not_go_on_later(store: Store) -> None:
    ran: Counter[str] = Counter()

    @task_agent(max_retries=0)
    async def moves_on(ctx: Context) -> str:
        async def waiting() -> None:
            await ctx.wait_event("late")
            ran["went on"] += 1

        async def bad() -> None:
            await ctx.step("first", asyncio.sleep, 0.01)
            raise ValueError("bad")

        try:
            await ctx.gather(waiting(), bad())
        except ValueError:
            return str(await ctx.wait_event("go"))
        return ""

    async with working(store, moves_on):
        (task_id,) = await submit(store, moves_on.create_task())
        await until(store, task_id, lambda task: waits(task) and task.wait is not None and "event:go" in task.wait.on)
        for name in ("late", "go"):
            await store.signal([Signal(task_id, SignalKind.EVENT, f"event:{name}", name)])
        task = await until(store, task_id, lambda task: task.is_final or task.paused)
    assert task.state is State.DONE, task.error or task.reason
    assert not ran
    assert [step.key for step in await store.journal(task_id)] == ["0.1/first#0", "0@stopped", "wait_event:go#0"]
