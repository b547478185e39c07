"""A worker in a process of its own, for tests that freeze it.

    python -m tests.integration.llm.frozen_worker STORE_URL ENDPOINT_URL FOLDER [before|after]

`before` and `after`: it freezes itself around the request to the store that records the first response of its model:
before that has left, or when it was carried out and the answer is not heard yet. Its tools write each start and each
end into FOLDER/log, and wait in between as long as FOLDER/hold is there.
"""

from __future__ import annotations

import asyncio
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

__all__ = ["CONFIG", "buyer", "worker_process"]

ROOT = Path(__file__).resolve().parents[3]

CONFIG = WorkerConfig(concurrency=4, lease=1.5, grace=2, poll=0.05, maintenance=MaintenanceWorkerConfig(interval=0.05))


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
    """A store that freezes its process around the record of the first response."""

    def __init__(self, store: Store, when: str) -> None:
        self._store, self._when = store, when

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def record(self, records: Any, lease: Any) -> Any:
        """Records, and freezes before or after that."""
        found = any(step.key == "turn-1/model#0" and step.state is StepState.DONE for r in records for step in r.steps)
        if found and self._when == "before":
            os.kill(os.getpid(), signal.SIGSTOP)
        answer = await self._store.record(records, lease)
        if found and self._when == "after":
            os.kill(os.getpid(), signal.SIGSTOP)
        return answer


async def _work(place: str, url: str, folder: str, when: str = "") -> None:
    store = open_store(place)
    await store.open()
    seen = cast(Store, _Freezing(store, when)) if when else store
    # Who takes over sweeps: one that is frozen in a sweep of a file would keep everybody else from writing to it.
    worker = Worker(seen, [buyer(url, folder)], replace(CONFIG, maintenance=None))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
    await worker.run()
    await store.close()


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:5]))
