"""A bare engine with a realistic task body: the limit that an engine in Python can be compared with.

One process, one connection, one event loop. Tasks are claimed and finished in one transaction per flush, under a
lease and with an event for each start and end; each is decoded, gets a context and a time limit, runs as an asyncio
task and has its result encoded. What it leaves out is what an engine is for: retries, fairness, limits, waits,
journals, signals, goals, several processes, errors.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.plan import Size, Subject
from bench.raw import PAYLOAD, connect

__all__ = ["SUBJECT"]

_SCHEMA = """
CREATE TABLE task (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, state INTEGER NOT NULL,
                   attempt INTEGER NOT NULL DEFAULT 0, nonce INTEGER, lease_until INTEGER, payload TEXT, result TEXT);
CREATE INDEX ready ON task (agent, number) WHERE state = 1;
CREATE TABLE event (cursor INTEGER PRIMARY KEY, task INTEGER NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL,
                    at INTEGER NOT NULL, data TEXT);
CREATE INDEX event_of ON event (task, seq);
"""
_FINISH = """UPDATE task SET state = 3, result = given.value ->> 2, lease_until = NULL FROM json_each(?) AS given
             WHERE number = given.value ->> 0 AND nonce = given.value ->> 1 AND state = 2"""
_FINISHED = "INSERT INTO event (task, seq, kind, at) SELECT value ->> 0, 2, 'done', ? FROM json_each(?)"
_READY = """SELECT json_group_array(json_array(number, id, payload)) FROM (
              SELECT number, id, payload FROM task WHERE agent = 'bench' AND state = 1 ORDER BY number LIMIT ?)"""
_CLAIM = """UPDATE task SET state = 2, attempt = attempt + 1, nonce = ?, lease_until = ? FROM json_each(?) AS given
            WHERE number = given.value"""
_CLAIMED = """INSERT INTO event (task, seq, kind, at, data)
              SELECT value, 1, 'started', ?, '{"worker":"w"}' FROM json_each(?)"""


@dataclass
class _Context:
    """What a task body is given."""

    task_id: str
    attempt: int
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


async def _body(context: _Context, payload: dict[str, Any]) -> dict[str, Any]:
    return {"task": context.task_id, "n": payload["n"], "text": payload["text"]}


class _Engine:
    def __init__(self, path: Path, concurrency: int) -> None:
        import msgspec

        self.database = connect(path)
        self.database.execute(_SCHEMA)
        self.concurrency = concurrency
        self.nonce = 0
        self.decode = msgspec.json.decode
        self.encode = msgspec.json.encode
        self.claims: msgspec.json.Decoder[list[tuple[int, str, str]]] = msgspec.json.Decoder(list[tuple[int, str, str]])

    def fill(self, count: int) -> None:
        with self.database:
            self.database.executemany(
                "INSERT INTO task (id, agent, state, payload) VALUES (?, 'bench', 1, ?)",
                [(f"task-{number:032x}", PAYLOAD) for number in range(count)],
            )

    def exchange(self, finished: list[tuple[int, int, str]], want: int) -> list[tuple[int, str, str]]:
        """Stores results and claims the next tasks, in one transaction."""
        execute = self.database.execute
        now = time.time_ns() // 1_000_000
        execute("BEGIN IMMEDIATE")
        if finished:
            given = self.encode(finished).decode()
            execute(_FINISH, (given,))
            execute(_FINISHED, (now, given))
        claimed = self.claims.decode(execute(_READY, (want,)).fetchone()[0]) if want else []
        if claimed:
            self.nonce += 1
            numbers = self.encode([number for number, _, _ in claimed]).decode()
            execute(_CLAIM, (self.nonce, now + 30_000, numbers))
            execute(_CLAIMED, (now, numbers))
        execute("COMMIT")
        return claimed

    async def run_one(self, task_id: str, payload: str) -> str:
        context = _Context(task_id, 1)
        value = self.decode(payload)
        async with asyncio.timeout(30):
            result = await _body(context, value)
        return self.encode(result).decode()

    async def drain(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        claimed: deque[tuple[int, str, str]] = deque()
        finished: list[tuple[int, int, str]] = []
        running = 0
        total = 0
        changed = asyncio.Event()

        def start() -> None:
            nonlocal running
            while claimed and running < self.concurrency:
                number, task_id, payload = claimed.popleft()
                running += 1
                task = loop.create_task(self.run_one(task_id, payload))
                task.add_done_callback(partial(end, number, self.nonce))

        def end(number: int, nonce: int, done: asyncio.Task[str]) -> None:
            nonlocal running, total
            running -= 1
            total += 1
            finished.append((number, nonce, done.result()))
            changed.set()

        while total < count or finished:
            batch, finished = finished, []
            claimed.extend(self.exchange(batch, self.concurrency - running))
            start()
            if total < count and not finished:
                changed.clear()
                await changed.wait()


def drain(directory: Path, size: Size) -> Mapping[str, float]:
    import uvloop

    values = {}
    for concurrency in (10, 100):
        engine = _Engine(directory / f"prototype-{concurrency}.db", concurrency)
        engine.fill(size.drain)
        began = time.perf_counter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(engine.drain(size.drain))
        values[f"drain.1x{concurrency}"] = size.drain / (time.perf_counter() - began)
        (done,) = engine.database.execute("SELECT count(*) FROM task WHERE state = 3").fetchone()
        assert done == size.drain, f"the prototype finished {done} of {size.drain}"
        engine.database.close()
    return values


SUBJECT = Subject(
    name="prototype",
    durability="WAL, fsync at every commit",
    requires=("apsw", "msgspec", "uvloop"),
    runs={"drain": drain},
)
