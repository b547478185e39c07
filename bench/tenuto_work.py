"""The agents that the bench runs on Tenuto, and the worker processes that serve them.

A worker process announces itself on stdout, begins with the first line on stdin and drains when stdin ends. It counts
finished task bodies in a file that it shares with the bench, so that nobody has to ask the store while it is measured.
"""

from __future__ import annotations

import asyncio
import mmap
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from tenuto.agents.function import task_agent
from tenuto.stores import open_store
from tenuto.workers.config import WorkerConfig
from tenuto.workers.context import Context
from tenuto.workers.worker import Worker

__all__ = ["PAYLOAD", "Counter", "Workers", "config", "ran", "runner", "waits", "work"]

PAYLOAD = {"n": 1, "text": "x" * 60}

ran: list[Callable[[], None]] = []
"""called at the end of every task body"""


@task_agent(name="bench")
async def work(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """A small task: says when it began and returns what it was given."""
    started = time.monotonic()
    for call in ran:
        call()
    return {"task": ctx.task_id, "n": payload["n"], "text": payload["text"], "started": started}


@task_agent(name="waits")
async def waits(ctx: Context, payload: dict[str, Any]) -> Any:
    """Waits for an event that the bench never sends."""
    return await ctx.wait_event("go")


def runner() -> asyncio.Runner:
    """What every measured event loop runs in: uvloop where it is present, as in the product's own processes."""
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def config(concurrency: int) -> WorkerConfig:
    """What every measured worker works by: the defaults, but for the concurrency."""
    return WorkerConfig(concurrency=concurrency)


class Counter:
    """Counts in a file, one slot for each process, readable by all of them."""

    def __init__(self, path: Path, slots: int = 8) -> None:
        if not path.exists():
            path.write_bytes(bytes(8 * slots))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * slots)
        self._slots = memoryview(self._map).cast("Q")

    def add(self, slot: int) -> None:
        self._slots[slot] += 1

    @property
    def total(self) -> int:
        return sum(self._slots)

    def close(self) -> None:
        self._slots.release()
        self._map.close()


async def _serve(url: str, concurrency: int, agent: str) -> None:
    store = open_store(url)
    await store.open()
    worker = Worker(store, [work if agent == "bench" else waits], config(concurrency))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    loop = asyncio.get_running_loop()

    def end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(worker.drain)

    threading.Thread(target=end, daemon=True).start()
    try:
        await worker.run()
    finally:
        await store.close()


def serve(url: str, concurrency: int, agent: str, counter: str, slot: int) -> None:
    """What a worker process does; its threads take turns as quickly as in `tenuto.workers.child`."""
    sys.setswitchinterval(0.0005)
    count = Counter(Path(counter))
    ran.append(lambda: count.add(slot))
    with runner() as loop:
        loop.run(_serve(url, concurrency, agent))


class Workers(AbstractContextManager["Workers"]):
    """Worker processes: ready on entering, at work after `go`, drained on leaving."""

    def __init__(self, url: str, processes: int, concurrency: int, counter: Path, agent: str = "bench") -> None:
        self._commands = [
            f"from bench.tenuto_work import serve; serve({url!r}, {concurrency}, {agent!r}, {str(counter)!r}, {slot})"
            for slot in range(processes)
        ]
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Workers:
        for command in self._commands:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
        for process in self.processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError("a worker process did not start")
        return self

    def go(self) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
