"""Where `crash_matrix` kills a worker: at one of its requests to the store, or at one of its HTTP requests.

A request to the store kills before it is carried out, or after it was and before the worker hears of it. An HTTP
request, such as a model's, kills when it was sent and nothing of its answer was read, or when the answer has come and
nobody has looked at it. HTTP requests are seen through the `trace` extension of httpx (its successor httpx2 included),
with which the SDKs of the providers are made; those of other libraries are not seen.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from enum import StrEnum
from typing import Any

import msgspec

from tenuto.stores.answers import Exchange
from tenuto.stores.base import Store

__all__ = ["HTTP_LIBRARIES", "Crash", "CrashPoint", "Requests", "WatchedStore"]

HTTP_LIBRARIES = ("httpx2", "httpx")

_REQUESTS = frozenset(
    {"blobs", "commit_and_claim", "goal", "inbox", "journal", "record", "slow", "task", "tasks_by_id", "transact"}
)
"""What a task has its worker ask for. What a worker does by the clock, such as renewing leases, is not counted."""


class CrashPoint(StrEnum):
    """What a worker is at when it is killed."""

    STORE_ASKED = "store_asked"
    """a request to the store, which is lost"""
    STORE_ANSWERED = "store_answered"
    """a request to the store, whose answer is lost"""
    HTTP_ASKED = "http_asked"
    """an HTTP request, which the server has"""
    HTTP_ANSWERED = "http_answered"
    """an HTTP request, whose answer has come and is lost"""

    @property
    def is_http(self) -> bool:
        """Not the store's."""
        return self in (CrashPoint.HTTP_ASKED, CrashPoint.HTTP_ANSWERED)


_HTTP_EVENTS = {
    "receive_response_headers.started": CrashPoint.HTTP_ASKED,
    "response_closed.started": CrashPoint.HTTP_ANSWERED,
}
"""Of httpcore, without the protocol: https://www.encode.io/httpcore/extensions/#trace"""

_WORDS = {
    CrashPoint.STORE_ASKED: "request {} to the store, before it was carried out",
    CrashPoint.STORE_ANSWERED: "request {} to the store, after it was carried out",
    CrashPoint.HTTP_ASKED: "HTTP request {}, while it was under way",
    CrashPoint.HTTP_ANSWERED: "HTTP request {}, when its answer had come",
}


class Crash(msgspec.Struct, frozen=True):
    """Where one worker was killed."""

    point: CrashPoint
    after: int
    """requests of this kind that the worker survived"""

    def __str__(self) -> str:
        return _WORDS[self.point].format(self.after + 1)


class Requests:
    """Counts the requests of this process, and kills it at one of them."""

    def __init__(self, crash: Crash | None = None) -> None:
        self.counts = Counter[CrashPoint]()
        self._crash = crash

    def reached(self, point: CrashPoint) -> None:
        """Counts one, which may be the last."""
        self.counts[point] += 1
        crash = self._crash
        if crash is not None and crash.point is point and self.counts[point] > crash.after:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_http(self) -> None:
        """From now on all HTTP requests of this process are seen."""
        for name in HTTP_LIBRARIES:
            library = sys.modules.get(name)
            if library is not None:
                self._watch(library.AsyncHTTPTransport, library.HTTPTransport)

    def _watch(self, async_transport: Any, transport: Any) -> None:
        async_plain, plain = async_transport.handle_async_request, transport.handle_request

        def trace(event: str, _: Any) -> None:
            point = _HTTP_EVENTS.get(event.partition(".")[2])
            if point is not None:
                self.reached(point)

        async def async_trace(event: str, found: Any) -> None:
            trace(event, found)

        async def handle_async_request(way: Any, request: Any) -> Any:
            request.extensions = {**request.extensions, "trace": async_trace}
            return await async_plain(way, request)

        def handle_request(way: Any, request: Any) -> Any:
            request.extensions = {**request.extensions, "trace": trace}
            return plain(way, request)

        async_transport.handle_async_request, transport.handle_request = handle_async_request, handle_request


class WatchedStore:
    """A store whose requests are seen: before they arrive, and before their answers do."""

    def __init__(self, store: Store, requests: Requests) -> None:
        self._store = store
        self._requests = requests

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in _REQUESTS:
            return found

        async def request(*args: Any, **kwargs: Any) -> Any:
            # How often a worker that has nothing to do asks for tasks is a matter of time: nothing is lost with that.
            idle = any(isinstance(each, Exchange) and not each.outcomes for each in args)
            if not idle:
                self._requests.reached(CrashPoint.STORE_ASKED)
            answer = await found(*args, **kwargs)
            if not (idle and not answer.leases):
                self._requests.reached(CrashPoint.STORE_ANSWERED)
            return answer

        return request
