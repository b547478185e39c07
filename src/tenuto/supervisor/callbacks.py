"""Calling what was registered for an event: away from whoever emitted it, in order, no callback in another's way.

Each callback has a lane: a queue and, while there is something in it, a thread. So a callback sees all its events in
the order in which they were emitted, is never called twice at once, and may sleep or hang for ever without anybody else
noticing. A lane that is full (its callback hangs) leaves out what comes then, says so once and counts it; a thread with
nothing to do for a while ends, and the next event starts another.

A callback gets, by keyword, of the payload and of `event_name`, `event_date` and `event_time` (UTC, ISO 8601) what its
signature takes. A coroutine function is run to its end before the next event.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from tenuto.errors import InvalidInput
from tenuto.observability.logging import logger

__all__ = ["CallbackStats", "Happened", "Lane"]

log = logger("tenuto.supervisor")

_LINGER = 5.0
"""Seconds after which a thread without events ends."""


class Happened(NamedTuple):
    """An event on its way to callbacks."""

    event_name: str
    timestamp: float
    payload: Mapping[str, Any]


class CallbackStats(NamedTuple):
    """How a callback fares."""

    name: str
    event_name: str
    called: int
    failed: int
    waiting: int
    left_out: int
    """events that came while `waiting` was at its limit"""


class _Mark(NamedTuple):
    reached: threading.Event


class Lane:
    """One callback for one event."""

    def __init__(self, event_name: str, callback: Callable[..., object], limit: int) -> None:
        """limit: how many events may wait. Raises `InvalidInput` for what cannot be called by keyword."""
        self.event_name = event_name
        self.callback = callback
        self.name = getattr(callback, "__qualname__", None) or repr(callback)
        self._takes = _parameters(callback, self.name)
        self._limit = limit
        self._queue: SimpleQueue[Happened | _Mark | None] = SimpleQueue()
        self._serving = False
        self._closed = False
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._called = self._failed = self._left_out = 0

    def put(self, happened: Happened) -> None:
        """Hands an event over; returns at once. Called by one thread at a time."""
        if self._queue.qsize() >= self._limit:
            if not self._left_out:
                log.error(
                    "a callback does not keep up: events for it are left out",
                    callback=self.name,
                    event_name=self.event_name,
                    waiting=self._limit,
                )
            self._left_out += 1
            return
        self._queue.put(happened)
        if not self._serving:
            self._serve_on()

    def is_here(self) -> bool:
        """Whether the caller is the callback itself."""
        return threading.current_thread() is self._thread

    def mark(self) -> threading.Event | None:
        """Is set when everything that was put before has been dealt with; None in the callback itself."""
        if self.is_here():
            return None
        mark = _Mark(threading.Event())
        self._queue.put(mark)
        if not self._serving:
            self._serve_on()
        return mark.reached

    def rest(self) -> None:
        """Lets the thread end when it has dealt with everything that was put before; the next event starts another."""
        if self._serving:
            self._queue.put(None)

    def close(self) -> None:
        """Drops what waits, and lets the thread end when the callback returns. Nothing may be put any more."""
        self._closed = True
        self._queue.put(None)

    def join(self, timeout: float) -> None:
        """Waits until the thread has ended, at most so many seconds."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def stats(self) -> CallbackStats:
        return CallbackStats(
            self.name, self.event_name, self._called, self._failed, self._queue.qsize(), self._left_out
        )

    def _serve_on(self) -> None:
        with self._guard:
            if not self._serving and not self._closed:
                self._thread = threading.Thread(target=self._serve, name=f"tenuto callback: {self.name}", daemon=True)
                self._serving = True
                try:
                    self._thread.start()
                except RuntimeError as error:  # there are too many threads: the next event tries again
                    self._serving = False
                    log.error("a callback has to wait", callback=self.name, why=str(error))  # noqa: TRY400

    def _serve(self) -> None:
        while not self._closed:
            try:
                item = self._queue.get(timeout=_LINGER)
            except Empty:
                item = None
            if item is None:
                if self._ended():
                    return
                continue
            if isinstance(item, Happened):
                if not self._closed:
                    self._call(item)
            else:
                item.reached.set()
        self._release_marks()

    def _ended(self) -> bool:
        """Whether this thread is done: first it says so, then it looks once more, so that no event falls in between."""
        self._serving = False
        if self._queue.empty():
            return True
        with self._guard:
            if self._serving:
                return True  # another thread has taken over
            self._serving = True
            return False

    def _release_marks(self) -> None:
        while not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, _Mark):
                item.reached.set()

    def _call(self, happened: Happened) -> None:
        try:
            result = self.callback(**self._arguments(happened))
            if inspect.iscoroutine(result):
                asyncio.run(result)
        except Exception as error:
            self._failed += 1
            log.exception("a callback has failed", callback=self.name, event_name=self.event_name, error=repr(error))
        except BaseException as error:  # noqa: BLE001 - `sys.exit` in a callback ends nothing but that call
            self._failed += 1
            log.error("a callback has failed", callback=self.name, event_name=self.event_name, error=repr(error))  # noqa: TRY400
        finally:
            self._called += 1

    def _arguments(self, happened: Happened) -> dict[str, Any]:
        takes = self._takes
        if takes is not None and takes <= happened.payload.keys():
            return {name: happened.payload[name] for name in takes}
        date, _, clock = datetime.fromtimestamp(happened.timestamp, UTC).isoformat().partition("T")
        given = {"event_date": date, "event_time": clock, "event_name": happened.event_name, **happened.payload}
        return given if takes is None else {name: value for name, value in given.items() if name in takes}


def _parameters(callback: Callable[..., object], name: str) -> frozenset[str] | None:
    """The names that `callback` takes; None: all."""
    if not callable(callback):
        raise InvalidInput(f"a callback must be a function, not {type(callback).__name__}")
    try:
        parameters = inspect.signature(callback).parameters.values()
    except (TypeError, ValueError):
        raise InvalidInput(f"the callback {name} does not tell its parameters: wrap it in a function") from None
    if any(each.kind is each.POSITIONAL_ONLY and each.default is each.empty for each in parameters):
        raise InvalidInput(f"the callback {name} takes values by position only: give its parameters names")
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    return frozenset(each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY))
