"""Hints: telling those who wait that something was committed, in this process and on other machines.

In this process listeners are simply called. For the others there is NOTIFY. The first hint after a quiet time goes with
the transaction that it tells of, and is heard when that commits: no thread and no round trip lies between. Those that
follow soon are put together, and sent by a thread on a connection of its own, off the path of commits: PostgreSQL lets
only one transaction at a time commit with a notification. The same connection listens for what others send. It comes
into being with the first listener, or the first hint to send; where it breaks it is made anew, and what was hinted
meanwhile is lost.

Behind a pooler that hands out connections transaction by transaction, LISTEN hears nothing. That is tried when the
connection is made; it is said once, and then there are no hints from others. Polling is the truth.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable

import msgspec
import psycopg
from psycopg import pq, sql

from tenuto.errors import StoreError
from tenuto.observability.logging import logger
from tenuto.stores.base import Hint
from tenuto.stores.listeners import Listeners
from tenuto.stores.postgres.connection import Address, Connection, connect
from tenuto.stores.postgres.queries import query

__all__ = ["ARRIVED", "Hints", "payloads"]

ARRIVED = "arrived"
"""What a caller's own transaction sends: there is something to admit."""

log = logger("tenuto.store")

_SPACING = 0.003
"""Seconds between two notifications of one process."""
_QUIET = 0.02
"""Seconds without a notification after which the next one goes with its transaction."""
_FIRST_DELAY, _LONGEST_DELAY = 0.05, 2.0
"""Seconds until a broken connection is made anew."""
_READY = 2.0
"""Seconds that a new listener waits for the connection to listen."""
_PROBE = 1.0
_MOST_NAMED = 256
"""Tasks named in one hint; beyond that it says that any may be meant."""
_LARGEST = 7_900
"""Bytes in one notification; PostgreSQL takes 7999."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Hint)


class Hints:
    """Listeners here, the thread that hears from others, and what it has to send."""

    def __init__(self, address: Address, arrived: Callable[[], None] = lambda: None) -> None:
        """`arrived`: called by the thread when a caller has committed what it has submitted."""
        self._address = address
        self._arrived = arrived
        self._lock = threading.Lock()
        self._listeners = Listeners()
        self._open = False
        self._thread: threading.Thread | None = None
        self._bell: socket.socket | None = None
        self._rung = False
        self._pending: Hint | None = None
        self._sent = 0.0
        self._hears = threading.Event()
        self._deaf = False
        self._missed = False
        self._arrival = False
        self.others = 0
        """hints of others that were heard"""
        self._own: dict[str, int] = {}
        """the server processes behind connections of this store that notify"""

    def open(self) -> None:
        """The store was opened: those who listen already begin to hear from others."""
        with self._lock:
            self._open = True
            if self._listeners:
                self._start()
        self._await_ears()

    def listen(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Calls `listener` for every hint from now on, from any thread; returns how to stop."""
        with self._lock:
            stop = self._listeners.add(listener)
            if self._open:
                self._start()
        self._await_ears()

        return stop

    def _await_ears(self) -> None:
        """What is committed after this is heard of, perhaps only by a hint that anything may have happened."""
        if self._thread is not None and self._thread is not threading.current_thread() and not self._hears.wait(_READY):
            self._missed = True

    def speaks(self, purpose: str, backend: int) -> None:
        """What the server process `backend` sends is our own: nobody here is told a second time."""
        self._own[purpose] = backend

    def with_commit(self, hint: Hint) -> list[str]:
        """What the transaction that `hint` tells of is to send as it commits; nothing where that is sent later."""
        now = time.monotonic()
        with self._lock:
            if not self._open or self._pending is not None or now < self._sent + _QUIET:
                return []
            self._sent = now
        return payloads(hint)

    def tell(self, hint: Hint, sent: bool = False) -> None:
        """Tells everyone here at once, and the others soon, unless it was `sent`. Never waits."""
        self._listeners.call(hint)
        if sent:
            return
        with self._lock:
            if not self._open:
                return
            pending = hint if self._pending is None else self._pending | hint
            many = pending.tasks is not None and len(pending.tasks) > _MOST_NAMED
            self._pending = Hint(pending.ready, None) if many else pending
            self._start()
            self._ring()

    def attend(self) -> None:
        """Hears from others from now on, listeners or not."""
        with self._lock:
            if self._open:
                self._start()

    def close(self) -> None:
        """Sends what is left to send, and stops hearing."""
        with self._lock:
            self._open = False
            self._ring()
            thread, self._thread = self._thread, None
            bell, self._bell = self._bell, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_READY)
        if bell is not None:
            bell.close()

    def _start(self) -> None:
        if self._thread is None:
            self._bell, heard = socket.socketpair()
            for end in (self._bell, heard):
                end.setblocking(False)
            self._rung = False
            self._hears.clear()
            self._thread = threading.Thread(target=self._run, args=(heard,), name="tenuto-postgres-hints", daemon=True)
            self._thread.start()

    def _ring(self) -> None:
        if self._bell is not None and not self._rung:
            self._rung = True
            with contextlib.suppress(BrokenPipeError):  # the thread has just ended
                self._bell.send(b"!")

    # -- the thread

    def _run(self, bell: socket.socket) -> None:
        delay = _FIRST_DELAY
        with bell:
            while self._open:
                try:
                    with contextlib.closing(connect(self._address, "hints")) as connection:
                        self._begin(connection)
                        delay = _FIRST_DELAY
                        self._serve(connection, bell)
                except (psycopg.Error, StoreError, OSError):
                    self._hears.set()  # nobody waits for a server that is not there
                    self._forget(bell)
                    self._pause(bell, delay * random.uniform(0.5, 1.0))
                    delay = min(2 * delay, _LONGEST_DELAY)

    def _pause(self, bell: socket.socket, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(bell, selectors.EVENT_READ)
            selector.select(seconds)

    def _forget(self, bell: socket.socket) -> None:
        with self._lock:
            if self._open:
                with contextlib.suppress(BlockingIOError):
                    bell.recv(16)
            self._pending, self._rung, self._missed = None, False, True

    def _begin(self, connection: Connection) -> None:
        """Listens, and finds out whether that can be heard."""
        schema = self._address.schema
        row = connection.execute(query("own_backend", schema)).fetchone()
        own = row[0] if row is not None else 0
        self.speaks("hints", own)
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._address.channel)))
        if own != connection.info.backend_pid and not self._hears_across(connection):
            connection.execute("UNLISTEN *")
            if not self._deaf:
                log.warning(
                    "no hints from other processes, polling instead: the pooler does not pass notifications on",
                    store=self._address.url,
                )
            self._deaf = True
        connection.add_notify_handler(lambda note: self._heard(note.pid, note.payload))
        self._hears.set()
        if self._missed:
            self._missed = False
            self._listeners.call(Hint(frozenset(), None))

    def _hears_across(self, connection: Connection) -> bool:
        """Whether a notification of another connection arrives: something stands between us and the server."""
        probe = secrets.token_hex(8)
        with contextlib.closing(connect(self._address, "probe")) as other:
            other.execute(query("send_hints", self._address.schema), (self._address.channel, [probe]))
        return any(note.payload == probe for note in connection.notifies(timeout=_PROBE, stop_after=1))

    def _serve(self, connection: Connection, bell: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(bell, selectors.EVENT_READ)
            selector.register(connection.fileno(), selectors.EVENT_READ)
            while True:
                wait = self._send(connection)
                if wait is None and not self._open:
                    return
                for key, _ in selector.select(wait):
                    if key.fileobj is bell:
                        bell.recv(16)
                    else:
                        self._hear(connection.pgconn)
                if self._arrival:  # however many have come together
                    self._arrival = False
                    self._arrived()

    def _send(self, connection: Connection) -> float | None:
        """Sends what others were not told yet, unless it is too soon; seconds until then, None where nothing waits."""
        with self._lock:
            wait = self._sent + _SPACING - time.monotonic()
            if self._pending is not None and wait > 0 and self._open:
                return wait
            hint, self._pending, self._rung = self._pending, None, False
        if hint is not None:
            parameters = (self._address.channel, payloads(hint))
            connection.execute(query("send_hints", self._address.schema), parameters)
            self._sent = time.monotonic()
        return None

    def _hear(self, pgconn: pq.abc.PGconn) -> None:
        pgconn.consume_input()
        while note := pgconn.notifies():
            self._heard(note.be_pid, note.extra.decode(errors="replace"))

    def _heard(self, sender: int, payload: str) -> None:
        if sender in self._own.values():
            return
        self.others += 1
        if payload == ARRIVED:
            self._arrival = True
            return
        try:
            hint = _decoder.decode(payload)
        except msgspec.MsgspecError:
            return
        self._listeners.call(hint)


def payloads(hint: Hint) -> list[str]:
    """`hint` in notifications that PostgreSQL takes, in as few as it needs; it may grow vaguer."""
    if hint.tasks is not None and len(hint.tasks) > _MOST_NAMED:
        hint = Hint(hint.ready, None)
    text = _encoder.encode(hint)
    if len(text) <= _LARGEST:
        return [text.decode()]
    if len(hint.ready) > 1:
        agents = sorted(hint.ready)
        middle = len(agents) // 2
        return payloads(Hint(frozenset(agents[:middle]), hint.tasks)) + payloads(Hint(frozenset(agents[middle:])))
    return payloads(Hint(hint.ready, None)) if hint.tasks else payloads(Hint())
