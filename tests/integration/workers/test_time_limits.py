"""A time limit that passes while a task runs: its worker reports it, and the store does what it means."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tenuto.agents.function import task_agent
from tenuto.stores.base import Store, TaskFilter
from tenuto.tasks.states import State
from tenuto.workers.context import Context
from tests.integration.workers.rig import ended, submit, working


@task_agent(name="never claimed")
async def never() -> None: ...


@pytest.mark.parametrize("error", ["TimeLimit", "Deadline"])
async def test_a_task_that_runs_out_of_time_takes_its_children_with_it(store: Store, error: str) -> None:
    @task_agent
    async def slow(ctx: Context) -> None:
        await ctx.spawn(never.create_task())
        await ctx.step("long", asyncio.sleep, 30)

    async with working(store, slow):
        limit: dict[str, Any] = {"timeout": 1.5} if error == "TimeLimit" else {"deadline": time.time() + 1.5}
        (task_id,) = await submit(store, slow.create_task(**limit))
        task = await ended(store, task_id)
        assert task.state is State.FAILED
        assert task.error is not None
        assert task.error.type == error
        (child,) = (await store.tasks(TaskFilter(parent=task_id))).tasks
        assert child.state is State.CANCELLED
