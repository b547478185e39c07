"""Many tasks over several worker processes: the configuration of the page on task agents, and a part of its load."""

from __future__ import annotations

from collections import Counter

import pytest

from tenuto import Agent, AgentContext, AgentWorkerConfig, Orchestrator
from tenuto.testing import Endpoint, Reply, ToolCall
from tests.servers.redis import shared_redis


def rows(table: str) -> int:
    """How many rows a table has."""
    return 42


def turns() -> list[Reply | str | list[Reply | str]]:
    slow = 0.05
    return [
        Reply(tools=[ToolCall("rows", {"table": "a"})], delay=slow),
        Reply(tools=[ToolCall("rows", {"table": "b"})], delay=slow),
        Reply(text="done", delay=slow),
    ]


@pytest.mark.timeout(180)
async def test_sixty_tasks_over_several_processes_ask_for_each_turn_once() -> None:
    # Given the page's configuration, on Redis
    with Endpoint(turns()) as endpoint:
        agent = Agent("my_agent", "Analyze.", "openai:gpt-5-mini", [rows], base_url=endpoint.openai_url)
        orchestrator = Orchestrator(store=shared_redis().url(namespace="load"), openai_api_key="sk-test")
        orchestrator.register_runner(agent, AgentWorkerConfig(workers=4, batch_size=25))
        # When several people enqueue tasks
        async with orchestrator:
            tasks = [
                agent.create_task(owner_id=f"user{number % 5}", payload=AgentContext(query=f"question {number}"))
                for number in range(60)
            ]
            ids = await orchestrator.enqueue_batch(agent, tasks)
            results = [await orchestrator.get_task_result(task_id, timeout=150) for task_id in ids]
        # Then all are done, and each turn was paid for once
        assert results == ["done"] * 60
        assert Counter(call.turn for call in endpoint.calls) == {1: 60, 2: 60, 3: 60}
