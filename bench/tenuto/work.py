"""The agents that the bench runs on Tenuto, and the worker process that serves them."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from bench import loops
from bench.crew import Board, Post
from bench.measures import TEXT
from tenuto.agents.function import task_agent
from tenuto.stores import open_store
from tenuto.tasks.task import TaskSpec
from tenuto.workers.config import WorkerConfig
from tenuto.workers.context import Context
from tenuto.workers.worker import Worker

__all__ = ["boards", "config", "serve", "serve_waiting", "specs", "waits", "work"]

boards: list[Board] = []
"""where every task body notes that it runs"""


@task_agent(name="bench")
async def work(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """A small task: notes that it ran and returns what it was given."""
    for board in boards:
        board.ran(payload["n"])
    return {"task": ctx.task_id, "n": payload["n"], "text": payload["text"]}


@task_agent(name="waits")
async def waits(ctx: Context, payload: dict[str, Any]) -> Any:
    """Waits for an event that the bench never sends."""
    return await ctx.wait_event("go")


def specs(count: int, agent: Any = work, *, sample: int = 0) -> list[TaskSpec]:
    """Tasks of ten owners."""
    payload = {"n": sample, "text": TEXT}
    return [agent.create_task(owner_id=f"owner{number % 10}", payload=payload) for number in range(count)]


def config(concurrency: int) -> WorkerConfig:
    """What every measured worker works by: the defaults, but for the concurrency."""
    return WorkerConfig(concurrency=concurrency)


async def _serve(post: Post, agent: Any) -> None:
    store = open_store(post.url)
    await store.open()
    worker = Worker(store, [agent], config(post.concurrency))
    await asyncio.to_thread(post.ready)
    running = asyncio.create_task(worker.run())
    await asyncio.to_thread(post.over)
    worker.drain()
    await running
    await store.close()


def serve(post: Post, agent: Any = work) -> None:
    """What a worker process does; its threads take turns as quickly as in `tenuto.supervisor.agents.worker`."""
    sys.setswitchinterval(0.0005)
    boards.append(post.board)
    loops.run(_serve(post, agent))


def serve_waiting(post: Post) -> None:
    """The same for tasks that wait."""
    serve(post, waits)
