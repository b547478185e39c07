"""The crash matrix: an agent's worker is killed at every request to its store in turn, and another one goes on.

    async def test_my_agent_survives(tmp_path):
        runs = await crash_matrix(agent, agent.create_task(payload="begin"), folder=tmp_path)
        assert len(runs) > 20

Each run has a store of its own. A worker in a process of its own works on the task until it is killed with SIGKILL, at
its first request to the store, then at its second, and so on: once before the request arrives, once after it was
carried out; then at each of its HTTP requests: once while it is under way, once when the answer has come. When the
lease has ended (the clock is moved, nobody waits for it), another process goes on, and the task must end as it does
undisturbed. What your tools have done is for your test to count: outside these processes, in a file or a server.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import msgspec

from tenuto.client import Client
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.tasks.clock import Millis, wall_clock
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec
from tenuto.tasks.usage import CallState, LedgerEntry
from tenuto.testing.deaths import Crash, CrashPoint
from tenuto.testing.victim import Ended, Order, Setting, StoreMaker
from tenuto.workers.config import MaintenanceWorkerConfig, WorkerConfig
from tenuto.workers.handler import Handler
from tenuto.workers.portable import dumps

__all__ = ["CrashRun", "crash_matrix"]

_AHEAD: Millis = 120_000
"""For each worker that was killed: its lease has ended then."""
_MOST_KILLS = 4
_SOON = 6
"""Requests within which the second worker is killed: it reads the journal, and does what was lost again."""
_CONFIG = WorkerConfig(concurrency=10, lease=30, grace=2, poll=0.05, maintenance=MaintenanceWorkerConfig(interval=0.05))


@dataclass(frozen=True)
class CrashRun:
    """One run: where its workers were killed, and how the task ended under the one that was not."""

    number: int
    crashes: tuple[Crash, ...]
    """one for each worker that was killed, in order"""
    state: State
    result: bytes | None
    """as JSON"""
    error: str
    """of the last failed attempt"""
    ledger: tuple[LedgerEntry, ...]
    """what the task's requests to models count as"""

    @property
    def place(self) -> str:
        """The places of the crashes in words."""
        if not self.crashes:
            return "without a crash"
        return "killed at " + ", then at ".join(map(str, self.crashes))

    @property
    def unknown(self) -> tuple[LedgerEntry, ...]:
        """The requests to models that were announced, and whose answers were not recorded before a crash."""
        return tuple(entry for entry in self.ledger if entry.state is CallState.UNKNOWN)


async def crash_matrix(
    agent: Handler,
    task: TaskSpec,
    *,
    folder: Path | None = None,
    agents: Sequence[Handler] = (),
    store: StoreMaker | None = None,
    prepare: Callable[[Client, str], Awaitable[None]] | None = None,
    check: Callable[[CrashRun], None] | None = None,
    points: Sequence[CrashPoint] = tuple(CrashPoint),
    kills: int = 1,
    every: int = 1,
    limit: float = 60.0,
) -> list[CrashRun]:
    """Kills the workers of `agent` at every request, and returns all runs; the first is the one without a crash.

    task: what it works on, the same in each run. agents: others that it needs, such as those of its children.
    folder: where each run gets a SQLite store; or store: makes the store of run `n` with a clock, from any process.
    prepare: called with a client and the task's id before each run, to steer or answer ahead. check: called after each
    run. points: what the workers are at when they are killed. kills: how many workers in turn are killed in each run,
    up to 4; those after the first soon after they have taken over, at another request in each run. every: 3 kills at
    the first request, the fourth, and so on: a third of the time. limit: most seconds for one worker.

    Raises `AssertionError` when a task does not end as it does undisturbed, `TimeoutError` when it does not end, and
    `InvalidInput` without a store.
    """
    if store is None:
        if folder is None:
            raise InvalidInput("crash_matrix needs a place for its stores: give folder, or store")
        store = partial(_in_folder, folder)
    if not 1 <= kills <= _MOST_KILLS:
        raise InvalidInput(f"kills must be from 1 to {_MOST_KILLS}, not {kills}: a task fails when it has lost more")
    matrix = _Matrix(task, store, prepare, check, limit)
    async with _victims(Setting((agent, *agents), store, _CONFIG, task.id)) as victims:
        undisturbed, requests = await matrix.run(victims, ())
        runs = [undisturbed]
        for point in points:
            for nth, after in enumerate(range(0, requests.get(point, 0), every)):
                soon = (Crash(point, (nth + later) % _SOON) for later in range(kills - 1))
                run, _ = await matrix.run(victims, (Crash(point, after), *soon))
                if run.crashes:  # unless it has come by with fewer requests this time
                    _compare(undisturbed, run)
                    runs.append(run)
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

    async def carry_out(self, order: Order, limit: float) -> Ended:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        async with asyncio.timeout(limit):
            line = await self.process.stdout.readline()
        if not line:
            raise InvalidInput("the process for workers has ended: its agents cannot be brought there, see its output")
        return msgspec.json.decode(line, type=Ended)


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
    check: Callable[[CrashRun], None] | None
    limit: float
    numbers: Iterator[int] = field(default_factory=count)

    async def run(self, victims: _Victims, planned: Sequence[Crash]) -> tuple[CrashRun, Mapping[CrashPoint, int]]:
        """Workers that are killed, and one that goes on; and the requests of that one."""
        number = next(self.numbers)
        store = self.store(number, wall_clock)
        await store.open()
        try:
            async with Client(store) as client:
                await client.enqueue_task(None, self.task)
                if self.prepare is not None:
                    await self.prepare(client, self.task.id)
            killed, requests = await self._killed(victims, number, planned)
            ended = await store.task(self.task.id)
            assert ended is not None
            result = None if ended.result is None else bytes(ended.result)
            error = "" if ended.error is None else ended.error.message
            ledger = tuple(await store.ledger(self.task.id))
        finally:
            await store.close()
        run = CrashRun(number, tuple(planned[:killed]), ended.state, result, error, ledger)
        if self.check is not None:
            self.check(run)
        return run, requests

    async def _killed(
        self, victims: _Victims, number: int, planned: Sequence[Crash]
    ) -> tuple[int, Mapping[CrashPoint, int]]:
        """How many workers were killed before one has brought the task to its end, and the requests of that one."""
        killed = 0
        while True:
            crash = planned[killed] if killed < len(planned) else None
            ended = await victims.carry_out(Order(number, crash, killed * _AHEAD), self.limit)
            if crash is None or ended.code != -signal.SIGKILL:
                break
            killed += 1
        if ended.code != 0:
            raise AssertionError(f"a worker of run {number} ended with {ended.code}: see its output")
        return killed, ended.requests
