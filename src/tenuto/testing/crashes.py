"""The crash matrix: an agent's worker is killed at every request to its store in turn, and another one goes on.

    async def test_my_agent_survives(tmp_path):
        runs = await crash_matrix(agent, agent.create_task(payload="begin"), folder=tmp_path)
        assert len(runs) > 20

Each run has a store of its own. A worker in a process of its own works on the task until it is killed with SIGKILL, at
its first request, then at its second, and so on: once before the request arrives, once after it was carried out. When
the lease has ended (the clock is moved, nobody waits for it), another process goes on, and the task must end as it
does undisturbed. What your tools have done is for your test to count: outside these processes, in a file or a server.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path

from tenuto.client import Client
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.tasks.clock import Millis, wall_clock
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec
from tenuto.testing.victim import Order, Setting, StoreMaker
from tenuto.workers.config import MaintenanceWorkerConfig, WorkerConfig
from tenuto.workers.handler import Handler
from tenuto.workers.portable import dumps

__all__ = ["CrashRun", "crash_matrix"]

_AHEAD: Millis = 120_000
_CONFIG = WorkerConfig(concurrency=10, lease=30, grace=2, poll=0.05, maintenance=MaintenanceWorkerConfig(interval=0.05))


@dataclass(frozen=True)
class CrashRun:
    """One run: where its worker was killed, and how the task ended under the next one."""

    number: int
    after: int | None
    """requests that the worker survived; None: it was not killed"""
    answered: bool
    """the request at which it was killed was carried out"""
    state: State
    result: bytes | None
    """as JSON"""
    error: str
    """of the last failed attempt"""

    @property
    def place(self) -> str:
        """The place of the crash in words."""
        if self.after is None:
            return "without a crash"
        return f"killed at request {self.after + 1}, {'after it was carried out' if self.answered else 'before'}"


async def crash_matrix(
    agent: Handler,
    task: TaskSpec,
    *,
    folder: Path | None = None,
    agents: Sequence[Handler] = (),
    store: StoreMaker | None = None,
    prepare: Callable[[Client, str], Awaitable[None]] | None = None,
    check: Callable[[CrashRun], None] | None = None,
    every: int = 1,
    limit: float = 60.0,
) -> list[CrashRun]:
    """Kills the workers of `agent` at every request, and returns all runs; the first is the one without a crash.

    task: what it works on, the same in each run. agents: others that it needs, such as those of its children.
    folder: where each run gets a SQLite store; or store: makes the store of run `n` with a clock, from any process.
    prepare: called with a client and the task's id before each run, to steer or answer ahead. check: called after each
    run. every: 3 kills at the first request, the fourth, and so on: a third of the time. limit: most seconds for one
    worker.

    Raises `AssertionError` when a task does not end as it does undisturbed, `TimeoutError` when it does not end, and
    `InvalidInput` without a store.
    """
    if store is None:
        if folder is None:
            raise InvalidInput("crash_matrix needs a place for its stores: give folder, or store")
        store = partial(_in_folder, folder)
    matrix = _Matrix(task, store, prepare, limit)
    runs: list[CrashRun] = []
    numbers = count()
    async with _victims(Setting((agent, *agents), store, _CONFIG, task.id)) as victims:
        for answered in (None, False, True):
            after = 0
            while True:
                run = await matrix.run(victims, next(numbers), None if answered is None else after, bool(answered))
                if check is not None:
                    check(run)
                if run.after is not None or not runs:
                    runs.append(run)
                    _compare(runs[0], run)
                if run.after is None:
                    break
                after += every
    return runs


def _in_folder(folder: Path, run: int, clock: Callable[[], Millis]) -> Store:
    from tenuto.stores.sqlite import SqliteStore

    return SqliteStore(folder / f"run-{run}.db", clock=clock)


def _compare(undisturbed: CrashRun, run: CrashRun) -> None:
    if (run.state, run.result) != (undisturbed.state, undisturbed.result):
        raise AssertionError(
            f"{run.place} (run {run.number}), the task ended {run.state} with {run.result or run.error!r}; "
            f"undisturbed it ends {undisturbed.state} with {undisturbed.result or undisturbed.error!r}"
        )


@dataclass
class _Victims:
    """The process that forks workers."""

    process: asyncio.subprocess.Process

    async def carry_out(self, order: Order, limit: float) -> int:
        """How that worker ended: 0, or minus the signal that killed it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        async with asyncio.timeout(limit):
            line = await self.process.stdout.readline()
        if not line:
            raise InvalidInput("the process for workers has ended: its agents cannot be brought there, see its output")
        return int(json.loads(line)["code"])


@asynccontextmanager
async def _victims(setting: Setting) -> AsyncIterator[_Victims]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"import sys; sys.path[:] = {sys.path!r}; from tenuto.testing.victim import main; main()",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(base64.b64encode(dumps(setting)) + b"\n")
        yield _Victims(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with the worker that is at it, if there is one
        await process.wait()


@dataclass
class _Matrix:
    task: TaskSpec
    store: StoreMaker
    prepare: Callable[[Client, str], Awaitable[None]] | None
    limit: float

    async def run(self, victims: _Victims, number: int, after: int | None, answered: bool) -> CrashRun:
        """One run: a worker that is killed, and one that goes on."""
        store = self.store(number, wall_clock)
        await store.open()
        try:
            async with Client(store) as client:
                await client.enqueue_task(None, self.task)
                if self.prepare is not None:
                    await self.prepare(client, self.task.id)
            code = await victims.carry_out(Order(number, after, answered), self.limit)
            killed = code == -signal.SIGKILL
            if killed:
                code = await victims.carry_out(Order(number, None, ahead=_AHEAD), self.limit)
            if code != 0:
                raise AssertionError(f"the worker of run {number} ended with {code}: see its output")
            ended = await store.task(self.task.id)
            assert ended is not None
            result = None if ended.result is None else bytes(ended.result)
            error = "" if ended.error is None else ended.error.message
            return CrashRun(number, after if killed else None, answered, ended.state, result, error)
        finally:
            await store.close()
