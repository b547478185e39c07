"""Requests on their way to a thread and back: many at once in either direction.

A request is a function and the future that gets its answer. Any event loop and any thread may make one. Answers go
back with one call into each event loop, however many requests were answered together.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from tenuto.errors import StoreBusy, StoreCorrupt, StoreReadOnly, StoreUnavailable
from tenuto.stores.base import Hint

__all__ = ["Mailbox", "Request", "answer", "commit", "joined"]

S = TypeVar("S")

_FOR_ALL = (StoreBusy, StoreCorrupt, StoreReadOnly, StoreUnavailable)


class Request(Generic[S]):
    """Something to be done in a transaction over `S`."""

    __slots__ = ("alone", "answer", "claims", "error", "fresh", "future", "hint", "loop", "verb", "wants", "weight")

    def __init__(
        self,
        verb: Callable[[S], Any],
        weight: int = 1,
        alone: bool = False,
        wants: Sequence[str] = (),
        fresh: bool = False,
        claims: int = 0,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.verb = verb
        self.weight = weight
        """about how many rows it is about"""
        self.alone = alone
        """it gets a transaction of its own"""
        self.wants = wants
        """ids of tasks that it will look at: those of all requests of a transaction are read together"""
        self.fresh = fresh
        """as a rule there are no tasks with these ids yet"""
        self.claims = claims
        """how many tasks it claims at most: an engine may read some beforehand"""
        self.answer: Any = None
        self.error: BaseException | None = None
        self.hint: Hint | None = None
        """what it means for others, once it is committed"""


class Mailbox(Generic[S]):
    """What waits for a thread."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Request[S] | None] = queue.SimpleQueue()
        self._kept: Request[S] | None = None
        self._door = threading.Lock()
        self._shut = False
        self._closed = False

    def put(self, request: Request[S]) -> bool:
        """Adds a request; False when the mailbox was closed."""
        with self._door:
            if not self._shut:
                self._queue.put(request)
            return not self._shut

    def close(self) -> None:
        """No requests come after those that are there."""
        with self._door:
            self._shut = True
            self._queue.put(None)

    def take(self, most: int, timeout: float | None = None) -> list[Request[S]] | None:
        """All that waits, up to a total weight of `most`; waits for the first one, up to `timeout` seconds.

        None: the mailbox was closed, and all requests have been taken. Empty: nothing came in time.
        """
        first = self._kept or self._next(timeout)
        self._kept = None
        if first is None:
            return None if self._closed else []
        taken, weight = [first], first.weight
        while weight < most and not first.alone:
            following = self._next(0.0)
            if following is None:
                break
            if following.alone:
                self._kept = following
                break
            taken.append(following)
            weight += following.weight
        return taken

    def _next(self, timeout: float | None) -> Request[S] | None:
        if self._closed and timeout is None:
            return None
        try:
            request = self._queue.get_nowait() if timeout == 0.0 else self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if request is None:
            self._closed = True
        return request


def answer(requests: Iterable[Request[Any]]) -> None:
    """Gives each request its answer or its error, in its own event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Request[Any]]] = defaultdict(list)
    for request in requests:
        by_loop[request.loop].append(request)
    for loop, mine in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, mine)
        except RuntimeError:
            continue  # the loop was closed meanwhile: nobody waits any more


def _resolve(requests: list[Request[Any]]) -> None:
    for request in requests:
        if request.future.cancelled():
            continue
        if request.error is not None:
            request.future.set_exception(request.error)
        else:
            request.future.set_result(request.answer)


def commit(
    requests: Sequence[Request[Any]], transaction: Callable[[Sequence[Request[Any]]], BaseException | None]
) -> Hint | None:
    """Has `transaction` carry out all `requests` together; where that fails, each by itself. What to hint at then.

    `transaction` gives what went wrong, in which case nothing is stored. Nobody is to blame for a store that cannot be
    used: trying one by one would only repeat that.
    """
    error = transaction(requests)
    if error is not None:
        alone = len(requests) == 1 or isinstance(error, _FOR_ALL)
        for request in requests:
            request.error = error if alone else transaction([request])
    return joined([request for request in requests if request.error is None])


def joined(requests: Sequence[Request[Any]]) -> Hint | None:
    """One hint for all that were committed together."""
    hints = [request.hint for request in requests if request.hint is not None]
    if len(hints) <= 1:
        return hints[0] if hints else None
    ready = frozenset[str]().union(*(hint.ready for hint in hints))
    named = [hint.tasks for hint in hints if hint.tasks is not None]
    return Hint(ready, frozenset[str]().union(*named) if len(named) == len(hints) else None)
