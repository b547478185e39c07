"""What `tenuto worker` does: workers in this program or in processes of it, until they are told to end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenuto.cli.logs import log_to_stderr
from tenuto.cli.output import remark
from tenuto.stores import open_store
from tenuto.workers.config import WorkerConfig
from tenuto.workers.pool import Executor, WorkerPool

if TYPE_CHECKING:
    from tenuto.workers.handler import Handler

__all__ = ["run_workers"]


def run_workers(url: str, agents: Sequence[Handler], config: WorkerConfig, processes: int) -> None:
    """Works until SIGTERM or Ctrl-C, then drains: running tasks finish or are handed back within the grace time.

    A second signal hands them back at once.
    """
    log_to_stderr(logging.INFO)
    shown = open_store(url).url  # a URL that makes no sense is told before anything starts
    executor: Executor = "async" if processes == 1 else "process"
    pool = WorkerPool(url, agents, config, workers=processes, executor=executor)
    names = ", ".join(agent.name for agent in agents)
    where = "" if processes == 1 else f" in each of {processes} processes"
    remark(f"Serving {names} on {shown}, {config.concurrency} at once{where}.")
    asyncio.run(_work(pool, config.grace))


async def _work(pool: WorkerPool, grace: float) -> None:
    working = asyncio.create_task(pool.run(), name="tenuto: workers")
    asked = False

    def end() -> None:
        nonlocal asked
        if asked:
            working.cancel()
            return
        asked = True
        remark(f"Draining: running tasks get {grace:g} s. Once more ends at once.")
        pool.drain()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        await working
    except asyncio.CancelledError:
        if not asked:
            raise
