"""The process that `crash_matrix` has killed again and again: it forks a worker per order, and says how each ended.

It reads its agents and the way to a store once, so that a worker begins within milliseconds. It has no threads and no
event loop of its own, so that forking is safe. Orders and answers are lines of JSON on its standard input and output.

    {"run": 3, "after": 7, "answered": true, "ahead": 0}    kill the worker behind its 8th request to the store
    {"run": 3, "after": null, "ahead": 60000}               let it work until the task has ended, a minute later
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import structlog

from tenuto.stores.base import Store
from tenuto.tasks.clock import Millis
from tenuto.workers.config import WorkerConfig
from tenuto.workers.handler import Handler
from tenuto.workers.worker import Worker

__all__ = ["DyingStore", "Order", "Setting", "later"]

StoreMaker = Callable[[int, Callable[[], Millis]], Store]

_REQUESTS = frozenset({"blob", "commit_and_claim", "inbox", "journal", "record", "task", "tasks_by_id", "transact"})
_LOOK = 0.005
"""Seconds between two looks at whether the task has ended."""


@dataclass(frozen=True)
class Setting:
    """What all workers have in common."""

    agents: Sequence[Handler]
    store: StoreMaker
    """makes the store of a run, not opened yet"""
    config: WorkerConfig
    task_id: str


@dataclass(frozen=True)
class Order:
    """What one worker does."""

    run: int
    after: int | None
    """requests to the store that it survives; None: all"""
    answered: bool = False
    """whether the one that kills it is carried out first"""
    ahead: Millis = 0
    """how far its clock is ahead"""


class DyingStore:
    """A store that kills its own process at one of the worker's requests: before it arrives, or before its answer."""

    def __init__(self, store: Store, after: int, *, answered: bool) -> None:
        self._store = store
        self._left = after
        self._answered = answered

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in _REQUESTS:
            return found

        async def request(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            last = self._left < 0
            if last and not self._answered:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = await found(*args, **kwargs)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return request


def later(ahead: Millis) -> Callable[[], Millis]:
    """The wall clock, `ahead` milliseconds later."""
    return lambda: time.time_ns() // 1_000_000 + ahead


async def _work(setting: Setting, order: Order) -> None:
    store = setting.store(order.run, later(order.ahead))
    await store.open()
    seen = store
    if order.after is not None:
        seen = cast(Store, DyingStore(store, order.after, answered=order.answered))
    worker = Worker(seen, setting.agents, setting.config)
    running = asyncio.create_task(worker.run())
    while not running.done():
        task = await store.task(setting.task_id)
        if task is not None and task.is_final:
            worker.drain()
        await asyncio.wait([running], timeout=_LOOK)
    await running
    await store.close()


def _carry_out(setting: Setting, order: Order) -> int:
    """How the worker's process ended, as `os.waitstatus_to_exitcode` has it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            asyncio.run(_work(setting, order))
            code = 0
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Reads what to do from standard input until that ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what agents print is no answer
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # its clocks do leap
    setting: Setting = pickle.loads(base64.b64decode(sys.stdin.readline()))  # noqa: S301 - from `crash_matrix`
    for agent in setting.agents:
        getattr(agent, "pydantic_agent", None)  # made once, for all workers
    for line in sys.stdin:
        code = _carry_out(setting, Order(**json.loads(line)))
        answers.write(json.dumps({"code": code}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
