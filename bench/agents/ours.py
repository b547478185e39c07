"""Tenuto: each response, each tool's result and each intent is a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bench.agents.script import Clock, note, values
from bench.places import Place
from bench.plan import Size, Subject

__all__ = ["SUBJECT"]


def turns(place: Place, size: Size) -> Mapping[str, float]:
    from tenuto import Agent

    clock = Clock(size.turns)
    agent = Agent("writer", model=clock.model(), tools=[note], max_turns=size.turns)
    url = place.new("turns")
    asyncio.run(_run(url, agent))
    return values(clock, place.disk(url))


async def _run(url: str, agent: object) -> None:
    from tenuto import Agent, Worker, open_store
    from tenuto.client import Client

    assert isinstance(agent, Agent)
    store = open_store(url)
    await store.open()
    worker = Worker(store, [agent])
    running = asyncio.create_task(worker.run())
    async with Client(store) as client:
        task = agent.create_task(payload="begin")
        await client.enqueue_task(agent, task)
        assert await client.get_task_result(task.id, timeout=200) == "done"
    worker.drain()
    await running
    await store.close()


SUBJECT = Subject(
    "Tenuto",
    "a crash loses nothing that was recorded; responses and tools' results are recorded, intents and costs too",
    ("pydantic_ai",),
    {"turns": turns},
)
