"""Hints: telling those who wait that something was committed, in this process and on other machines.

In this process listeners are simply called. For the others there is pub/sub. The script that commits publishes the
first hint after a quiet time itself (`session.finish`). Those that follow within a few milliseconds are put together,
and published by one thread, off the path of commits, on a connection of the pool. Another thread hears what others
publish, on a connection of its own, which comes into being with the first listener. Where it breaks it is made anew,
and listeners are told to look at everything, because what was published meanwhile is lost. Polling is the truth.

The channel is `<namespace>hints`, and a message is JSON: `redis-cli SUBSCRIBE hints` shows them.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import redis

from tenuto.errors import TenutoError
from tenuto.observability.logging import logger
from tenuto.stores.base import Hint
from tenuto.stores.listeners import Listeners
from tenuto.stores.redis.connection import Connections, new_connection
from tenuto.stores.redis.errors import passes, translate

__all__ = ["Hints"]

log = logger("tenuto.store")

_SPACING = 0.002
"""Seconds between two messages of one process."""
_FIRST_DELAY, _LONGEST_DELAY = 0.05, 2.0
"""Seconds until a broken connection is made anew."""
_READY = 0.5
"""Seconds that a new listener waits for the subscription, and `close` for the threads."""
_BEAT = 5.0
"""Seconds of silence after which the server is asked whether it is still there, and after which it no longer is."""
_MOST_NAMED = 256
"""Tasks named in one message; beyond that it says that any may be meant."""


class _Message(msgspec.Struct, rename={"sender": "from"}):
    """A hint on its way."""

    sender: str
    ready: frozenset[str] = frozenset()
    tasks: frozenset[str] | None = frozenset()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Message)


class Hints:
    """Listeners here, the thread that hears from others, and the one that tells them."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self.channel = f"{connections.address.prefix}hints"
        """where hints of this store are published"""
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        """who publishes: hints of one's own are passed over"""
        self._lock = threading.Lock()
        self._listeners = Listeners()
        self._closing = threading.Event()
        self._open = False
        self._ear: threading.Thread | None = None
        self._line: Any = None
        self._hears = threading.Event()
        self._late = False
        """somebody began to listen before anything could be heard"""
        self._mouth: threading.Thread | None = None
        self._bell = threading.Condition(self._lock)
        self._pending: Hint | None = None

    def open(self) -> None:
        """The store was opened: those who listen already begin to hear from others."""
        with self._lock:
            self._open = True
            self._closing = threading.Event()
            if self._listeners:
                self._open_ear()
        self._await_ear()

    def use(self, connections: Connections) -> None:
        """From now on hints go through these: those of a store that is opened again. Called before `open`."""
        self._connections = connections

    def listen(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Calls `listener` for every hint from now on, from any thread; returns how to stop."""
        with self._lock:
            stop = self._listeners.add(listener)
            if self._open:
                self._open_ear()
        self._await_ear()

        return stop

    def close(self) -> None:
        """Publishes what is left to tell, and stops hearing. Idempotent."""
        with self._lock:
            self._open = False
            self._closing.set()
            self._bell.notify_all()
            threads = [self._mouth, self._ear]
            self._mouth = self._ear = None
            line = self._line
        if line is not None:
            line.disconnect()  # wakes the thread that reads from it
        for thread in threads:
            if thread is not None and thread is not threading.current_thread():
                thread.join(_READY)

    # -- telling

    def tell(self, hint: Hint, published: bool = False) -> None:
        """Tells everyone here at once, and the others soon, unless it is `published`. Never waits."""
        self._listeners.call(hint)
        if published:
            return
        with self._lock:
            if not self._open:
                return
            self._pending = hint if self._pending is None else self._pending | hint
            if self._mouth is None:
                self._mouth = threading.Thread(target=self._speak, name="tenuto-redis-hints-out", daemon=True)
                self._mouth.start()
            self._bell.notify()

    def _speak(self) -> None:
        while True:
            with self._lock:
                while self._pending is None and self._open:
                    self._bell.wait()
                hint, self._pending = self._pending, None
            if hint is None:
                return
            with contextlib.suppress(TenutoError):  # the hint is lost, which is harmless
                self._connections.ask([("PUBLISH", self.channel, self._encoded(hint))], patience=0)
            self._closing.wait(_SPACING)

    def _encoded(self, hint: Hint) -> bytes:
        tasks = hint.tasks if hint.tasks is not None and len(hint.tasks) <= _MOST_NAMED else None
        return _encoder.encode(_Message(self.name, hint.ready, tasks))

    # -- hearing

    def _open_ear(self) -> None:
        if self._ear is None:
            self._hears.clear()
            self._ear = threading.Thread(
                target=self._hear, args=(self._closing,), name="tenuto-redis-hints", daemon=True
            )
            self._ear.start()

    def _await_ear(self) -> None:
        """What is committed after this is heard of, perhaps only by a hint that anything may have happened."""
        if self._ear is not None and self._ear is not threading.current_thread() and not self._hears.wait(_READY):
            self._late = True

    def _hear(self, closing: threading.Event) -> None:
        delay, missed, said = _FIRST_DELAY, False, False
        while not closing.is_set():
            self._line = line = new_connection(self._connections.address)
            try:
                self._subscribe(line)
                if missed or self._late:
                    self._late = False
                    self._listeners.call(Hint(frozenset(), None))
                delay, missed, said = _FIRST_DELAY, False, False
                self._hear_from(line, closing)
            except Exception as error:
                if closing.is_set():
                    return  # `close` has taken the connection away
                if not isinstance(error, redis.RedisError):
                    raise
                missed = True
                if not said and not passes(error):
                    why = str(translate(error, self._connections.address.url))
                    log.warning("no hints from other processes, polling instead", why=why)
                    said = True
                self._hears.set()  # nobody waits for a server that is not there
            finally:
                line.disconnect()
            closing.wait(random.uniform(delay / 2, delay))
            delay = min(2 * delay, _LONGEST_DELAY)

    def _subscribe(self, line: Any) -> None:
        line.connect()
        line.send_command("SUBSCRIBE", self.channel)
        line.read_response(disable_decoding=True)
        self._hears.set()

    def _hear_from(self, line: Any, closing: threading.Event) -> None:
        """Hears until the connection breaks, which it raises; a silent one is asked whether it is still there."""
        asked = False
        while not closing.is_set():
            try:
                kind, *rest = line.read_response(disable_decoding=True, timeout=_BEAT, disconnect_on_error=False)
            except redis.TimeoutError:
                if asked:
                    raise
                line.send_command("PING")
                asked = True
                continue
            asked = False
            if kind == b"message":
                self._heard(rest[1])

    def _heard(self, data: bytes) -> None:
        try:
            message = _decoder.decode(data)
        except msgspec.MsgspecError:
            return
        if message.sender != self.name:
            self._listeners.call(Hint(message.ready, message.tasks))
