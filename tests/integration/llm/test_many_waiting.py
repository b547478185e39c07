"""Many agents that wait for people: each goes on with its own answer, and nothing of them is held meanwhile."""

from __future__ import annotations

import asyncio

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.tools import tool
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tests.integration.llm.rig import Scripted, asking, call
from tests.integration.workers.rig import ended, submit, until, waits, working

AGENTS = 200


async def test_two_hundred_agents_wait_for_approvals_and_each_goes_on(store: Store) -> None:
    # Given many agents on one worker, each of which needs an approval
    script = Scripted([call("delete", "c1", path="a")], "done")
    deleted: list[str] = []

    @tool(requires_approval=True)
    async def delete(path: str) -> str:
        """Deletes a file."""
        deleted.append(path)
        return path

    agent = Agent("cleaner", "Clean.", script.model, [delete])
    client = Client(store)
    async with working(store, agent) as worker:
        task_ids = await submit(store, *(asking(agent) for _ in range(AGENTS)))
        for task_id in task_ids:
            await until(store, task_id, waits)
        # When all of them wait
        assert not deleted
        assert script.asked == [1] * AGENTS
        # Then nothing of them runs
        assert worker.busy == 0
        # When one is approved, then all others at once
        await client.approve(task_ids[0], "c1")
        assert (await ended(store, task_ids[0])).state is State.DONE
        assert script.asked == [1] * AGENTS + [2]
        await asyncio.gather(*(client.approve(task_id, "c1") for task_id in task_ids[1:]))
        # Then each has gone on, once
        tasks = [await ended(store, task_id) for task_id in task_ids]
    assert [task.state for task in tasks] == [State.DONE] * AGENTS
    assert script.asked == [1] * AGENTS + [2] * AGENTS
    assert deleted == ["a"] * AGENTS
