"""What `tenuto worker` does: workers in this program or in processes of it, until they are told to end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenuto.cli.logs import log_to_stderr
from tenuto.cli.output import remark
from tenuto.errors import InvalidInput, StoreBusy, StoreUnavailable
from tenuto.stores import open_store
from tenuto.stores.durability import announce
from tenuto.supervisor.agents.worker import register_workers
from tenuto.supervisor.entry import Executor
from tenuto.supervisor.settings import RunMode
from tenuto.supervisor.supervisor import Supervisor
from tenuto.workers.config import WorkerConfig
from tenuto.workers.handler import CannotServe, check_able

if TYPE_CHECKING:
    from tenuto.workers.handler import Handler

__all__ = ["run_workers"]


def run_workers(url: str, agents: Sequence[Handler], config: WorkerConfig, processes: int) -> None:
    """Works until SIGTERM or Ctrl-C, then drains: running tasks finish or are handed back within the grace time.

    A second signal hands them back at once. Raises `CannotServe` where none of the agents can work here, as far as that
    is known ahead.
    """
    log_to_stderr(logging.INFO)
    able = _able(agents)
    shown = asyncio.run(_tried(url))  # what makes no sense is told before anything starts
    supervisor = _Workers(config.grace)
    executor: Executor = "async" if processes == 1 else "process"
    register_workers(supervisor.lifecycle_manager, url, agents, config, workers=processes, executor=executor)
    names = ", ".join(agent.name for agent in able)
    where = "" if processes == 1 else f" in each of {processes} processes"
    remark(f"Serving {names} on {shown}, {config.concurrency} at once{where}.")
    supervisor.run()


def _able(agents: Sequence[Handler]) -> Sequence[Handler]:
    found, lacking = [], []
    for agent in agents:
        try:
            check_able(agent)
        except InvalidInput as error:
            lacking.append(str(error))
        else:
            found.append(agent)
    if not found:
        raise CannotServe("; ".join(lacking))
    return found


async def _tried(url: str) -> str:
    """The URL to show, of a store that can be used, or will be."""
    store = open_store(url)
    try:
        await store.open()
        await announce(store)
    except (StoreBusy, StoreUnavailable) as error:
        remark(f"The store is not there yet: {error}")
    finally:
        await store.close()
    return store.url


class _Workers(Supervisor):
    """Workers, which a second signal hurries."""

    def __init__(self, grace: float) -> None:
        super().__init__(run_mode=RunMode.DAEMON)
        self._grace = grace

        self._times = 0

    def signalled(self, times: int) -> bool:
        self._times = times
        if times == 2:
            self.lifecycle_manager.hurry()
        return times == 2 or super().signalled(times)

    def shutdown(self, timeout: float | None = None) -> Sequence[str]:
        if self._times == 1:
            remark(f"Draining: running tasks get {self._grace:g} s. Once more ends at once.")
        return super().shutdown(timeout)
