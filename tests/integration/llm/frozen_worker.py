"""A worker in a process of its own, for tests that freeze it.

    python -m tests.integration.llm.frozen_worker STORE_URL ENDPOINT_URL FOLDER [before|after]

On SIGUSR1 it freezes itself as soon as it has no request to the store under way: one that is frozen in a transaction of
a file would keep everybody else from writing to it. `before` and `after`: it freezes around the request to the store
that records the first response of its model: before that has left, or when it was carried out and the answer is not
heard yet. Its tools write each start and each end into FOLDER/log, and wait in between as long as FOLDER/hold is there.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from pydantic_ai.models import Model

from tenuto import open_store
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.models import build_model
from tenuto.agents.llm.tools import tool
from tenuto.stores.base import Store
from tenuto.tasks.outcome import StepState
from tenuto.workers.config import MaintenanceWorkerConfig, WorkerConfig
from tenuto.workers.worker import Worker
from tests.integration.workers.rig import eventually

__all__ = ["CONFIG", "START", "buyer", "freeze", "stopped", "worker_process"]

ROOT = Path(__file__).resolve().parents[3]

START = 90.0
"""Seconds that a process may take to start or to end on a busy machine."""

CONFIG = WorkerConfig(concurrency=4, lease=3, grace=2, poll=0.05, maintenance=MaintenanceWorkerConfig(interval=0.05))


@contextmanager
def worker_process(place: str, url: str, folder: Path, when: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """The process, which ends with the block at the latest."""
    line = [sys.executable, "-m", "tests.integration.llm.frozen_worker", place, url, str(folder)]
    process = subprocess.Popen([*line, *([when] if when else [])], cwd=ROOT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


async def freeze(process: subprocess.Popen[bytes]) -> None:
    """Has the process stand still, with nothing of the store's in its hands."""
    process.send_signal(signal.SIGUSR1)
    await stopped(process)


async def stopped(process: subprocess.Popen[bytes]) -> None:
    """Returns when the process is frozen."""
    stat = Path(f"/proc/{process.pid}/stat")
    await eventually(lambda: asyncio.to_thread(lambda: stat.read_text().rpartition(") ")[2].startswith("T")), START)


def buyer(url: str, folder: str) -> Agent:
    """An agent whose tools can be held."""

    def written(line: str) -> None:
        with (Path(folder) / "log").open("a", encoding="utf-8") as log:
            log.write(f"{os.getpid()} {line}\n")

    def held(name: str) -> str:
        written(f"{name} starts")
        while (Path(folder) / "hold").exists():
            time.sleep(0.02)
        written(f"{name} ends")
        return f"{name} done"

    @tool(effect="once")
    def pay() -> str:
        """Pays, which may happen only once."""
        return held("pay")

    def look() -> str:
        """Looks something up."""
        return held("look")

    async def walk() -> str:
        """Walks there."""
        written("walk starts")
        while (Path(folder) / "hold").exists():  # noqa: ASYNC110 - another process removes it
            await asyncio.sleep(0.02)
        written("walk ends")
        return "walk done"

    return Agent("buyer", "Buy things.", partial(_model, url), [pay, look, walk])


def _model(url: str) -> Model:
    return build_model("openai-chat:gpt-5-mini", base_url=url, keys={"openai": "sk-test"})


class _Freezing:
    """A store that freezes its process when it is told to, or around the record of the first response."""

    def __init__(self, store: Store, when: str) -> None:
        self._store, self._when = store, when
        self._under_way = 0

    async def freeze(self) -> None:
        """Freezes the process as soon as no request is under way."""
        while self._under_way:  # noqa: ASYNC110 - they are short
            await asyncio.sleep(0.001)
        os.kill(os.getpid(), signal.SIGSTOP)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def request(*args: Any, **named: Any) -> Any:
            self._under_way += 1
            try:
                return await found(*args, **named)
            finally:
                self._under_way -= 1

        return request

    async def record(self, records: Any, lease: Any) -> Any:
        """Records, and freezes before or after that."""
        found = any(step.key == "turn-1/model#0" and step.state is StepState.DONE for r in records for step in r.steps)
        if found and self._when == "before":
            await self.freeze()
        answer = await self.__getattr__("record")(records, lease)
        if found and self._when == "after":
            await self.freeze()
        return answer


async def _work(place: str, url: str, folder: str, when: str = "") -> None:
    store = open_store(place)
    await store.open()
    _model(url)  # loads the provider's SDK, which could take as long as a lease
    seen = _Freezing(store, when)
    # Who takes over sweeps, through a store of its own.
    worker = Worker(cast(Store, seen), [buyer(url, folder)], replace(CONFIG, maintenance=None))
    loop = asyncio.get_running_loop()
    freezing: set[asyncio.Task[None]] = set()
    loop.add_signal_handler(signal.SIGUSR1, lambda: freezing.add(loop.create_task(seen.freeze())))
    loop.add_signal_handler(signal.SIGTERM, worker.drain)
    await worker.run()
    await store.close()


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:5]))
