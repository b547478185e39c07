"""The process that `crash_matrix` has killed again and again: it forks a worker per order, and says how each ended.

It reads its agents and the way to a store once, so that a worker begins within milliseconds. It has no threads and no
event loop of its own, so that forking is safe. Orders come as lines of JSON on its standard input, answers go to its
standard output.

    {"run": 3, "crash": {"point": "store_answered", "after": 7}}    kill the worker behind its 8th request to the store
    {"run": 3, "ahead": 60000}                                      let it work until the task has ended, a minute later
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import logging
import os
import pickle
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec
import structlog

from tenuto.stores.base import Store
from tenuto.tasks.clock import Millis
from tenuto.testing.deaths import HTTP_LIBRARIES, Crash, CrashPoint, Requests, WatchedStore
from tenuto.workers.config import WorkerConfig
from tenuto.workers.handler import Handler
from tenuto.workers.worker import Worker

__all__ = ["Ended", "Order", "Setting", "StoreMaker"]

StoreMaker = Callable[[int, Callable[[], Millis]], Store]

_LOOK = 0.005
"""Seconds between two looks at whether the task has ended."""
_ENOUGH = 4096
"""Bytes for some numbers; a pipe takes so many at once."""


@dataclass(frozen=True)
class Setting:
    """What all workers have in common."""

    agents: Sequence[Handler]
    store: StoreMaker
    """makes the store of a run, not opened yet"""
    config: WorkerConfig
    task_id: str


class Order(msgspec.Struct, frozen=True):
    """What one worker does."""

    run: int
    crash: Crash | None = None
    """where it is killed"""
    ahead: Millis = 0
    """how far its clock is ahead"""


class Ended(msgspec.Struct, frozen=True):
    """How one worker ended."""

    code: int
    """0, or minus the signal that killed it"""
    requests: dict[CrashPoint, int] = {}
    """how many there were of each kind; of a worker that was killed, nothing is known"""


def _later(ahead: Millis) -> Callable[[], Millis]:
    """The wall clock, `ahead` milliseconds later."""
    return lambda: time.time_ns() // 1_000_000 + ahead


async def _work(setting: Setting, order: Order) -> Counter[CrashPoint]:
    """Returns how many requests it took until the task had ended."""
    store = setting.store(order.run, _later(order.ahead))
    await store.open()
    requests = Requests(order.crash)
    requests.watch_http()
    worker = Worker(cast(Store, WatchedStore(store, requests)), setting.agents, setting.config)
    running = asyncio.create_task(worker.run())
    while not running.done():
        task = await store.task(setting.task_id)
        if task is not None and task.is_final:
            worker.drain()
        await asyncio.wait([running], timeout=_LOOK)
    await running
    await store.close()
    return requests.counts


def _carry_out(setting: Setting, order: Order) -> Ended:
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.write(tell, msgspec.json.encode(asyncio.run(_work(setting, order))))
            code = 0
        os._exit(code)
    os.close(tell)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    counts = b"{}" if code else os.read(told, _ENOUGH)
    os.close(told)
    return Ended(code, msgspec.json.decode(counts))


def _rehearse(model: object) -> None:
    """Does once what the model's SDK would do in each worker at its first request."""
    from tenuto.agents.llm.rehearsal import rehearsal_of

    for name in rehearsal_of(model):
        module, _, function = name.partition(":")
        getattr(importlib.import_module(module), function)()


def main() -> None:
    """Reads what to do from standard input until that ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what agents print is no answer
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # its clocks do leap
    setting: Setting = pickle.loads(base64.b64decode(sys.stdin.readline()))  # noqa: S301 - from `crash_matrix`
    for agent in setting.agents:
        made = getattr(agent, "pydantic_agent", None)  # made once, for all workers
        if made is not None:
            _rehearse(made.model)
    for name in HTTP_LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)  # a tool may use one that was not loaded yet
    for line in sys.stdin:
        ended = _carry_out(setting, msgspec.json.decode(line, type=Order))
        answers.write(msgspec.json.encode(ended) + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
