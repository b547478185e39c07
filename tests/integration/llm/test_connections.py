"""A request whose task is over does not go on: the provider sees that its client has left, and can stop as well."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tenuto.agents.llm.agent import Agent
from tenuto.client import Client
from tenuto.stores.memory import MemoryStore
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.states import State
from tenuto.tasks.usage import CallState
from tenuto.testing import Endpoint, Reply
from tenuto.workers.worker import Worker
from tests.integration.llm.frozen_worker import buyer, worker_process
from tests.integration.llm.rig import ask
from tests.integration.workers.rig import CONFIG, until

SPEAKING = {
    "whole": Reply(text="too late", hold="gate"),
    "streamed": Reply(text="word " * 1_000, chunk_delay=0.3),
}
MODELS = {
    "openai-chat:gpt-5-mini": "openai_url",
    "openai-responses:gpt-5-mini": "openai_url",
    "anthropic:claude-haiku-4-5": "anthropic_url",
}


@pytest.mark.parametrize("how", SPEAKING)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("why", ["cancelled", "over its time", "handed back"])
async def test_the_provider_sees_that_its_client_has_left(model: str, how: str, why: str) -> None:
    # Given an agent whose provider takes its time
    store = MemoryStore()
    await store.open()
    with Endpoint([[SPEAKING[how]] * 2]) as endpoint:
        keys = {model.partition(":")[0].partition("-")[0]: "sk-test"}
        url = getattr(endpoint, MODELS[model])
        agent = Agent("slow", None, model, base_url=url, stream=how == "streamed", max_retries=0).with_keys(keys)
        config = replace(CONFIG, grace=0.4, turn_timeout=4 if why == "over its time" else 60)
        worker = Worker(store, [agent], config)
        running = asyncio.create_task(worker.run())
        task_id = await ask(store, agent)
        await asyncio.to_thread(endpoint.wait_for, 1, turn=1, timeout=60)
        # When its task is cancelled, takes too long, or is handed back by a worker that ends
        if why == "cancelled":
            await Client(store).cancel_task(task_id)
        if why == "handed back":
            worker.drain()
        # Then the connection is closed at once, and the request stays counted
        await asyncio.to_thread(endpoint.wait_for, 1, outcome="gone", timeout=60)
        worker.drain()
        await running
        assert endpoint.count() == 1
    task = await store.task(task_id)
    assert task is not None
    ends = {"cancelled": State.CANCELLED, "over its time": State.FAILED, "handed back": State.READY}
    assert task.state is ends[why]
    assert [entry.state for entry in await store.ledger(task_id)] == [CallState.UNKNOWN]
    await store.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_it_sees_that_too_where_the_workers_process_ends(number: int, tmp_path: Path) -> None:
    # Given a worker in a process of its own, which asks
    with Endpoint([Reply(text="too late", hold="gate")]) as endpoint:
        store = SqliteStore(tmp_path / "tenuto.db")
        await store.open()
        task_id = await ask(store, buyer(endpoint.openai_url, str(tmp_path)))
        with worker_process(f"sqlite:///{tmp_path}/tenuto.db", endpoint.openai_url, tmp_path) as process:
            await asyncio.to_thread(endpoint.wait_for, 1, turn=1, timeout=90)  # on a busy machine
            # When that is told to end, or killed
            process.send_signal(number)
            # Then the connection is closed with it
            await asyncio.to_thread(endpoint.wait_for, 1, outcome="gone", timeout=60)
            assert await asyncio.to_thread(process.wait, 90) == (0 if number == signal.SIGTERM else -number)
    if number == signal.SIGTERM:
        await until(store, task_id, lambda task: task.state is State.READY)
    await store.close()
