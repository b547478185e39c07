"""A bare engine with a realistic task body: the limit that an engine in Python can be compared with.

One connection, one event loop. Tasks are claimed and finished together, in one request per flush, under a lease and
with an event for each start and end; each is decoded, gets a context and a time limit, runs as an asyncio task and has
its result encoded. The next request is on its way before what the last one brought is begun. What it leaves out is
what an engine is for: retries, fairness, limits, waits, journals, signals, goals, errors.

The loop is here; what a request is, each engine says (`bench.sqlite.prototype` and so on).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import msgspec

from bench.crew import Board, Post

__all__ = ["Claimed", "Exchange", "Finished", "serve"]

_IDLE = 0.005
"""Seconds until it asks again when there was nothing."""


class Claimed(msgspec.Struct, array_like=True):
    """A task to run."""

    number: int
    id: str
    payload: str
    nonce: int


class Finished(msgspec.Struct, array_like=True):
    """A task that ran."""

    number: int
    nonce: int
    result: str


class Exchange(Protocol):
    """Stores what is finished and claims the next tasks, at once."""

    async def __call__(self, finished: Sequence[Finished], want: int) -> Sequence[Claimed]: ...


@dataclass
class _Context:
    """What a task body is given."""

    task_id: str
    attempt: int
    board: Board
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


async def _body(context: _Context, payload: dict[str, Any]) -> dict[str, Any]:
    context.board.ran(payload["n"])
    return {"task": context.task_id, "n": payload["n"], "text": payload["text"]}


class _Loop:
    def __init__(self, exchange: Exchange, concurrency: int, board: Board) -> None:
        self.exchange = exchange
        self.concurrency = concurrency
        self.board = board
        self.running = 0
        self.claimed: deque[Claimed] = deque()
        self.finished: list[Finished] = []
        self.changed = asyncio.Event()

    async def run_one(self, task: Claimed) -> str:
        context = _Context(task.id, 1, self.board)
        value = msgspec.json.decode(task.payload)
        async with asyncio.timeout(30):
            result = await _body(context, value)
        return msgspec.json.encode(result).decode()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        while self.claimed and self.running < self.concurrency:
            task = self.claimed.popleft()
            self.running += 1
            loop.create_task(self.run_one(task)).add_done_callback(partial(self.end, task))

    def end(self, task: Claimed, done: asyncio.Task[str]) -> None:
        self.running -= 1
        self.finished.append(Finished(task.number, task.nonce, done.result()))
        self.start()
        self.changed.set()

    async def run(self) -> None:
        """Works until it is cancelled. As many tasks as may run at once are claimed ahead."""
        while True:
            batch, self.finished = self.finished, []
            ahead = max(0, len(self.claimed) - (self.concurrency - self.running))
            want = self.concurrency - ahead
            asked = asyncio.ensure_future(self.exchange(batch, want)) if batch or want else None
            self.start()
            if asked is None:
                self.changed.clear()
                await self.changed.wait()
                continue
            self.claimed.extend(await asked)
            if not self.claimed and not self.running and not batch and not self.finished:
                await asyncio.sleep(_IDLE)


async def serve(exchange: Exchange, post: Post) -> None:
    """The work of a worker process, until the bench has what it wants."""
    working = asyncio.create_task(_Loop(exchange, post.concurrency, post.board).run())
    await asyncio.to_thread(post.over)
    working.cancel()
