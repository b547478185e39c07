"""A worker in a process of its own: what the process does from its first line.

The process is a fresh interpreter. It never imports the user's main module again: what comes from there travels by
value (cloudpickle), so scripts need no `if __name__ == "__main__"`. It gets its order through its standard input, which
its parent keeps open for as long as it lives: the end of that pipe means that the parent is gone, however it died, and
the process follows it.

    SIGTERM          drains, as `Worker.drain` does
    parent gone      hands its tasks back and is gone within `_ORPHAN` seconds
    SIGINT           ignored: Ctrl-C reaches the parent, which decides
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import struct
import sys
import threading
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import cloudpickle

from tenuto.errors import InvalidInput, StoreError
from tenuto.observability.logging import logger
from tenuto.stores import open_store
from tenuto.stores.base import Store
from tenuto.workers.config import WorkerConfig
from tenuto.workers.handler import Handler
from tenuto.workers.loops import run
from tenuto.workers.portable import dumps
from tenuto.workers.worker import Worker, WorkerStuck

__all__ = ["REFUSED", "STUCK", "Order", "command", "main", "packed"]

log = logger("tenuto.worker")

STUCK = 75
"""Exit code of a worker that wants to be started afresh."""
REFUSED = 78
"""Exit code of a worker that can never use its store."""
_ORPHAN = 2.0
_SWITCH = 0.0005
"""Seconds after which a thread that runs Python lets another one: the event loop and the store's writer take turns many
times for each batch, and at Python's default of 5 ms they would mostly wait for each other."""
_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True)
class Order:
    """What a worker process is told to do."""

    url: str
    handlers: tuple[Handler, ...]
    config: WorkerConfig
    name: str | None


def command() -> list[str]:
    """How the process is started: with the parent's module search path, whatever it was made of."""
    start = f"import sys; sys.path[:] = {sys.path!r}; from tenuto.workers.child import main; main()"
    return [sys.executable, "-c", start]


def packed(order: Order) -> bytes:
    """The order as it goes through the pipe. Raises `InvalidInput` when the handlers cannot travel."""
    try:
        content = dumps((_main_names(), order))
    except Exception as error:
        raise InvalidInput(
            f"the agents cannot be sent to worker processes: {error}; keep what cannot be pickled (connections, locks) "
            "out of their functions, or run them in threads"
        ) from error
    return _LENGTH.pack(len(content)) + content


def _main_names() -> Mapping[str, Any]:
    """What annotations in the user's main module may name: its classes, and the modules it has imported."""
    found: dict[str, Any] = {}
    for name, value in vars(sys.modules["__main__"]).items():
        if name.startswith("__") or not isinstance(value, type | types.ModuleType | types.GenericAlias):
            continue
        try:
            dumps(value)
        except Exception:  # noqa: BLE001, S112 - what cannot travel cannot be named by what does
            continue
        found[name] = value
    return found


def main() -> None:
    """The process's program; does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH)
    pipe = sys.stdin.buffer
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    names, order = cloudpickle.loads(_exactly(pipe, length))
    vars(sys.modules["__main__"]).update(names)
    sys.exit(_work(order, pipe))


def _exactly(pipe: BinaryIO, count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        sys.exit(0)  # the parent is gone before it could say what to do
    return data


def _work(order: Order, pipe: BinaryIO) -> int:
    store = open_store(order.url)
    worker = Worker(store, order.handlers, order.config, name=order.name)
    threading.Thread(target=_follow_parent, args=(pipe, worker, os.getppid()), daemon=True).start()
    try:
        run(_until_drained(store, worker))
    except WorkerStuck as error:
        log.warning("a worker process ends", why=str(error))
        _leave(STUCK)
    except StoreError as error:
        log.critical("a worker process cannot use its store", why=str(error))
        _leave(REFUSED)
    _leave(0)
    return 0


async def _until_drained(store: Store, worker: Worker) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
    try:
        await worker.run()
    finally:
        await store.close()


def _follow_parent(pipe: BinaryIO, worker: Worker, parent: int) -> None:
    """Waits for the parent's end. Some other process may have inherited the pipe, hence the look at the parent's id."""
    while os.getppid() == parent:
        readable, _, _ = select.select([pipe], [], [], 1.0)
        if readable and not pipe.read(1):
            break
    worker.drain()
    threading.Event().wait(min(_ORPHAN, worker.config.grace))
    _leave(1)


def _leave(code: int) -> None:
    """Ends the process now: threads that do not return must not hold it."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
