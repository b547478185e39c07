"""The crash matrix: a task's worker is cut off at every single request, and the next one goes on where it was."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tenuto.agents.function import FunctionAgent, task_agent
from tenuto.stores.base import Store
from tenuto.stores.memory import MemoryStore
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.outcome import StepState
from tenuto.tasks.states import State
from tenuto.workers.context import Context
from tests.integration.workers.rig import Clock, crashed, ended, kinds, submit, working

ran: Counter[str] = Counter()


def count(name: str, value: Any = None) -> Any:
    ran[name] += 1
    return value


@task_agent
async def in_order(ctx: Context) -> list[int]:
    """Five steps, one after the other."""
    return [await ctx.step(f"s{number}", count, f"s{number}#0", number) for number in range(5)]


@task_agent
async def side_by_side(ctx: Context) -> list[list[int]]:
    """A step, two branches with two steps each, and a step."""

    async def branch(number: int) -> list[int]:
        return [await ctx.step("s", count, f"1.{number}/s#{n}", n) for n in range(2)]

    first = await ctx.step("first", count, "first#0", 1)
    both = await ctx.gather(branch(0), branch(1))
    return [[first], *both, [await ctx.step("last", count, "last#0", 9)]]


@task_agent
async def failing(ctx: Context) -> str:
    """A step that fails and is caught, between two others."""

    async def bad() -> None:
        count("bad#0")
        raise ValueError("no")

    await ctx.step("a", count, "a#0")
    try:
        await ctx.step("bad", bad)
    except ValueError as error:
        caught = str(error)
    else:
        caught = "nothing"
    await ctx.step("b", count, "b#0")
    return caught


@task_agent
async def leaf(payload: int) -> int:
    return payload * 2


@task_agent
async def with_children(ctx: Context) -> list[int]:
    """Spawns, waits, sleeps, and a step at the end."""
    await ctx.step("before", count, "before#0")
    children = await ctx.spawn_batch([leaf.create_task(payload=number) for number in range(3)])
    results = [result.result for result in await ctx.wait_for(children)]
    await ctx.sleep(0.01)
    await ctx.step("after", count, "after#0")
    return results


EXPECTED: dict[str, Any] = {
    "in_order": b"[0,1,2,3,4]",
    "side_by_side": b"[[1],[0,1],[0,1],[9]]",
    "failing": b'"no"',
    "with_children": b"[0,2,4]",
}


@pytest.mark.parametrize("answered", [False, True], ids=["request lost", "answer lost"])
@pytest.mark.parametrize("agent", [in_order, side_by_side, failing, with_children], ids=lambda agent: agent.name)
@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_a_task_goes_on_where_its_worker_was_cut_off(
    engine: str, agent: FunctionAgent[..., Any], answered: bool, tmp_path: Path
) -> None:
    for after in itertools.count():
        # Given a task whose worker is cut off at one of its requests
        ran.clear()
        clock = Clock()
        store: Store = MemoryStore(clock=clock)
        if engine == "sqlite":
            store = SqliteStore(tmp_path / f"{after}.db", clock=clock)
        await store.open()
        (task_id,) = await submit(store, agent.create_task())
        cut = await crashed(store, task_id, [agent, leaf], after, answered)
        recorded = {step.key for step in await store.journal(task_id) if step.state is not StepState.STARTED}
        before = dict(ran)

        # When its lease ends and another worker takes it
        clock.forward(60)
        async with working(store, agent, leaf):
            task = await ended(store, task_id)

        # Then it is done, once, and nothing that was recorded ran again
        assert task.state is State.DONE, (after, task.error)
        assert bytes(task.result or b"") == EXPECTED[agent.name]
        assert {key: ran[key] for key in before if key in recorded} == {k: before[k] for k in before if k in recorded}
        assert max(ran.values()) <= 2
        assert (await kinds(store, task_id)).count("done") == 1
        if agent is with_children:
            assert (await store.stats())[State.DONE] == 4
        await store.close()
        if not cut:
            break
    assert after >= 4
