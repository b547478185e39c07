"""Many tasks over many worker processes: the configuration of the page on task agents, and a part of its load."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tenuto import Agent, AgentContext, AgentWorkerConfig, Orchestrator
from tenuto.testing import EndpointProcess, Reply, Rule, ToolCall
from tests.servers.redis import shared_redis

CONFIG = AgentWorkerConfig(workers=10, batch_size=25)


def rows(table: str) -> int:
    """How many rows a table has."""
    return 42


def turns(**how: object) -> list[Reply | str | list[Reply | str]]:
    return [
        Reply(tools=[ToolCall("rows", {"table": "a"})], delay=0.05, **how),  # type: ignore[arg-type]  # fields of a reply
        Reply(tools=[ToolCall("rows", {"table": "b"})], delay=0.05),
        Reply(text="done", delay=0.05),
    ]


@pytest.mark.timeout(600)
async def test_the_configuration_of_the_page_asks_for_each_turn_once_and_the_slow_delay_nobody() -> None:
    # Given the page's configuration, on Redis, and a provider that does not answer the slow agent until it is told to
    script = [Rule(turns=turns(hold="slow"), system="Slowly."), Rule(turns=turns())]
    with EndpointProcess(script) as endpoint:
        slow, fast = (
            Agent(name, how, "openai:gpt-5-mini", [rows], base_url=endpoint.openai_url)
            for name, how in (("slow", "Slowly."), ("fast", "Quickly."))
        )
        url = shared_redis().url(namespace="load", max_connections=50)
        orchestrator = Orchestrator(store=url, openai_api_key="sk-test")
        orchestrator.register_runner([slow, fast], CONFIG)
        async with orchestrator:
            # When tasks of the slow agent are under way, and several people enqueue tasks of the fast one
            held = await orchestrator.enqueue_batch(
                slow, [slow.create_task(payload=f"{number}") for number in range(50)]
            )
            await asyncio.to_thread(endpoint.wait_for, 50, timeout=240)
            tasks = [
                fast.create_task(owner_id=f"user{number % 5}", payload=AgentContext(query=f"question {number}"))
                for number in range(100)
            ]
            ids = await orchestrator.enqueue_batch(fast, tasks)
            results = [await orchestrator.get_task_result(task_id, timeout=240) for task_id in ids]
            # Then all of these end while the slow ones stand where they stood
            assert results == ["done"] * 100
            assert {(await orchestrator.get_task_status(each)).value for each in held} == {"processing"}
            # And when those are answered they end as well, and each turn was paid for once
            endpoint.release("slow")
            assert [await orchestrator.get_task_result(task_id, timeout=240) for task_id in held] == ["done"] * 50
        assert Counter(call.turn for call in endpoint.calls) == {1: 150, 2: 150, 3: 150}
