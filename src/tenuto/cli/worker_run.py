"""What `tenuto worker` does: a worker in this program, until it is told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenuto.cli.logs import log_to_stderr
from tenuto.cli.output import remark
from tenuto.stores import open_store
from tenuto.workers.config import WorkerConfig
from tenuto.workers.worker import Worker

if TYPE_CHECKING:
    from tenuto.workers.handler import Handler

__all__ = ["run_worker"]


def run_worker(url: str, agents: Sequence[Handler], config: WorkerConfig) -> None:
    """Works until SIGTERM or Ctrl-C, then drains: running tasks finish or are handed back within the grace time.

    A second signal hands them back at once.
    """
    log_to_stderr()
    asyncio.run(_work(url, agents, config))


async def _work(url: str, agents: Sequence[Handler], config: WorkerConfig) -> None:
    store = open_store(url)
    worker = Worker(store, agents, config)
    working = asyncio.create_task(worker.run(), name="tenuto: worker")
    asked = False

    def end() -> None:
        nonlocal asked
        if asked:
            working.cancel()
            return
        asked = True
        if worker.busy:
            remark(f"Draining: {worker.busy} running tasks get {config.grace:g} s. Once more ends at once.")
        worker.drain()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    names = ", ".join(agent.name for agent in agents)
    remark(f"{worker.id} serves {names} on {store.url}, {config.concurrency} at once.")
    try:
        await working
    except asyncio.CancelledError:
        if not asked:
            raise
    finally:
        await store.close()
