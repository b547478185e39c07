"""Requests on their way to the server: one thread, and one exchange for all that wait at the same time.

While the server works and its answer travels, further requests queue up; the next exchange takes them all. There is no
timer: on an idle store a request leaves at once. Each request is one script, and so a transaction of its own; what
fails harms no other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import redis

from tenuto.stores.base import Hint
from tenuto.stores.redis.codec import no_text
from tenuto.stores.redis.connection import Command, Connections
from tenuto.stores.redis.errors import translate
from tenuto.stores.redis.functions import Scripts, is_unknown
from tenuto.stores.requests import Mailbox, Request, answer, joined

__all__ = ["Line"]

_MOST_WEIGHT = 1_024

_decode = msgspec.msgpack.Decoder().decode


class Line:
    """A thread that asks the server. A request's verb, given nothing, is the command."""

    def __init__(
        self,
        connections: Connections,
        scripts: Scripts,
        name: str,
        tell: Callable[[Hint, bool], None] | None = None,
    ) -> None:
        """`tell`: it carries scripts that write, and this is told what they have for those who wait, and whether the
        scripts have published it."""
        self._connections = connections
        self._scripts = scripts
        self._tell = tell
        self._all_published = True
        self._mailbox: Mailbox[None] = Mailbox()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, request: Request[None]) -> bool:
        """Adds a request; False when the thread is about to end."""
        return self._mailbox.put(request)

    def close(self) -> None:
        """Does all that was asked for, then ends. Blocks until then."""
        self._mailbox.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while True:
            requests = self._mailbox.take(_MOST_WEIGHT)
            if requests is None:
                break
            self._all_published = True
            self._serve(requests)
            answer(requests)
            hint = joined(requests) if self._tell is not None else None
            if hint is not None and self._tell is not None:
                self._tell(hint, self._all_published)

    def _serve(self, requests: Sequence[Request[None]]) -> None:
        commands: list[Command] = []
        sound: list[Request[None]] = []
        for request in requests:
            try:
                commands.append(_command(request))
                sound.append(request)
            except UnicodeEncodeError as error:
                request.error = no_text(error)
        if sound:
            self._exchange(sound, commands)

    def _exchange(self, requests: Sequence[Request[None]], commands: Sequence[Command]) -> None:
        try:
            answers = self._ask(requests, commands)
        except Exception as error:  # noqa: BLE001  # it belongs to whoever asked, and the thread goes on
            for request in requests:
                request.error = error
            return
        for request, told in zip(requests, answers, strict=True):
            if isinstance(told, redis.RedisError):
                request.error = translate(told, self._connections.address.url)
            elif self._tell is None:
                request.answer = told
            else:
                self._open(request, told)

    def _ask(self, requests: Sequence[Request[None]], commands: Sequence[Command]) -> list[Any]:
        answers = self._connections.ask(commands, writes=self._tell is not None)
        unknown = [at for at, told in enumerate(answers) if is_unknown(told)]
        if unknown:
            self._scripts.load(self._connections)
            again = self._connections.ask([_command(requests[at]) for at in unknown], writes=self._tell is not None)
            for at, told in zip(unknown, again, strict=True):
                answers[at] = told
        return answers

    def _open(self, request: Request[None], reply: bytes) -> None:
        """The envelope in which a script that writes puts its answer: see `session.finish`."""
        told = _decode(reply)
        if len(told) == 1:
            request.answer = told[0]  # the number of a later request that has been answered
            return
        request.answer, ready, tasks, published = told
        if ready or tasks or tasks is None:
            self._all_published = self._all_published and published
            request.hint = Hint(frozenset(ready), None if tasks is None else frozenset(tasks))


def _command(request: Request[None]) -> Command:
    """What is sent for a request. Raises `UnicodeEncodeError` for what is no text."""
    return [each.encode() if isinstance(each, str) else each for each in request.verb(None)]
