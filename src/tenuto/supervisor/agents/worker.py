"""A worker of the engine as an agent: started, listed, restarted and stopped like every other.

It claims tasks from a store and runs the task agents that they are addressed to (`tenuto.workers.worker`). Being asked
to stop drains it: running tasks finish, or are handed back within its grace time. When it ends although nobody asked,
it is started again, after a delay that doubles from 0.1 to 30 seconds while it keeps ending early. Only a store that
can never be used, and agents none of which it can serve, end it for good.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tenuto.errors import InvalidInput, StoreError
from tenuto.supervisor.agents.asynchronous import BaseAsyncAgent
from tenuto.supervisor.exceptions import NonRecoverableException
from tenuto.supervisor.restart import RestartPolicy
from tenuto.workers.config import WorkerConfig
from tenuto.workers.handler import CannotServe, preload_of

if TYPE_CHECKING:
    from tenuto.stores.base import Store
    from tenuto.supervisor.entry import AgentEntry, Executor
    from tenuto.supervisor.lifecycle import AgentLifecycleManager
    from tenuto.workers.handler import Handler

__all__ = ["WorkerAgent", "register_workers"]

_PRELOAD = ("tenuto.workers.worker", "tenuto.workers.loops", "tenuto.stores", "uvloop")
_ENGINES = {"sqlite:": "tenuto.stores.sqlite", "postgres": "tenuto.stores.postgres", "redis": "tenuto.stores.redis"}
"""Modules that worker processes share; by the begin of the store's URL."""

_LATE = 2.0
"""Seconds after the grace time, before a worker that does not end is interrupted."""
_SWITCH = 0.0005
"""Seconds after which a thread that runs Python lets another one: the event loop and the store's writer take turns many
times for each batch, and at Python's default of 5 ms they would mostly wait for each other."""
_RESTART = RestartPolicy(mode="always", max_restarts=None, backoff=0.1, max_backoff=30.0, window=60.0)


class WorkerAgent(BaseAsyncAgent):
    """Runs one worker until it is drained."""

    class Config(BaseAsyncAgent.Config):
        """Its settings."""

        restart = _RESTART

    store: Store | str
    """a URL in a process of its own"""
    handlers: Sequence[Handler]
    works_by: WorkerConfig
    listed_as: str | None
    names: Mapping[str, Any] | None
    """in a process of its own: what annotations in the user's main module may name"""

    async def setup(self) -> None:
        """Makes the worker."""
        from tenuto.workers.worker import Worker

        if self.names is not None:
            sys.setswitchinterval(_SWITCH)
            main = vars(sys.modules["__main__"])
            main.update((name, it) for name, it in self.names.items() if name not in main)  # it may be imported by now
        self._opened = None
        if isinstance(self.store, str):
            from tenuto.stores import open_store

            self.store = self._opened = open_store(self.store)
        self._worker = Worker(self.store, self.handlers, self.works_by, name=self.listed_as)

    async def execute(self) -> None:
        """Works."""
        if self.stopping:
            self._worker.drain()
        try:
            await self._worker.run()
        except StoreError as error:
            raise NonRecoverableException(f"the store cannot be used: {error}") from error
        except CannotServe as error:
            raise NonRecoverableException(str(error)) from error
        finally:
            if self._opened is not None:
                await self._opened.close()

    async def on_stop(self) -> None:
        """Drains it."""
        if hasattr(self, "_worker"):
            self._worker.drain()


def register_workers(
    manager: AgentLifecycleManager,
    store: Store | str,
    handlers: Sequence[Handler],
    works_by: WorkerConfig,
    *,
    workers: int,
    executor: Executor,
    listed_as: str | None = None,
) -> Sequence[AgentEntry]:
    """Registers `workers` agents, which take no slot; starts none.

    store: a URL, or an open store for workers in this process. listed_as: begins the names in the store's list.
    Raises `InvalidInput` for a store that cannot be shared with other processes where that is asked for.
    """
    if not 1 <= workers <= 1_024:
        raise InvalidInput(f"workers must be a whole number from 1 to 1,024, not {workers!r}")
    names: Mapping[str, Any] | None = None
    if executor == "process":
        from tenuto.workers.portable import main_names

        store = store if isinstance(store, str) else store.url
        if store.startswith("memory:"):
            raise InvalidInput("memory:// lives in one process: use threads, or a store that processes can share")
        names = main_names()
        engine = (module for scheme, module in _ENGINES.items() if store.startswith(scheme))
        manager.preload((*_PRELOAD, *engine, *(module for each in handlers for module in preload_of(each))))
    shown = handlers[0].name if len(handlers) == 1 else f"{handlers[0].name}+{len(handlers) - 1}"
    known = {entry.name for entry in manager.entries}
    numbers = (f"worker:{shown}:{number}" for number in range(1, len(known) + workers + 1))
    free = [name for name in numbers if name not in known][:workers]
    arguments = {
        "store": store,
        "handlers": tuple(handlers),
        "works_by": works_by,
        "listed_as": listed_as,
        "names": names,
    }
    config = WorkerAgent.Config(stop_timeout=works_by.grace + _LATE)
    return [
        manager.register(
            WorkerAgent, name, config, arguments=arguments, executor=executor, counted=False, essential=True
        )
        for name in free
    ]
