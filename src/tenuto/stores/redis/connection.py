"""Connections to the server: a blocking pool, and one way to ask.

`Connections.ask` sends commands in one go and reads the answers to all of them. It may be called from any thread.

Nothing waits for ever: connecting, sending and each answer have a time limit, a peer that went away is noticed by
keepalives, and who waits for a connection of the pool waits for a limited time. A connection on which something went
wrong is not used again.

Every verb of the store is repeatable, so what was cut off is asked again, with growing and random pauses, until
`PATIENCE` is over: a server that restarts, a failover and a broken connection are not seen by those who use the store,
only felt. What does not pass by waiting (a wrong password, a full memory) is raised at once.

With `wait_replicas`, `WAIT` follows each write on the same connection, and nothing is answered before so many replicas
have it. Too few in time is an error, although the write was done: it may or may not survive a failover.
"""

from __future__ import annotations

import itertools
import math
import os
import queue
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenuto.errors import StoreBusy, StoreClosed, StoreUnavailable
from tenuto.stores.redis.address import Address
from tenuto.stores.redis.errors import passes, translate

__all__ = ["LAST_PATIENCE", "PATIENCE", "Command", "Connections", "new_connection"]

PATIENCE = 10.0
"""Seconds for which a request is made again before it is given up."""
LAST_PATIENCE = 1.0
"""The same when the store is being closed."""

Command = Sequence[str | bytes | int | float]

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.5
_CLASSES: dict[str, Any] = {
    "tcp": redis.Connection,
    "tls": redis.SSLConnection,
    "unix": redis.UnixDomainSocketConnection,
}


class Connections:
    """The connections of one store object."""

    def __init__(self, address: Address) -> None:
        """Connects to nothing yet."""
        self.address = address
        self._pool = _Pool(address)
        self._closed = threading.Event()
        self._end = math.inf
        """when patience ends for all"""

    def ask(self, commands: Sequence[Command], *, writes: bool = False, patience: float | None = None) -> list[Any]:
        """Sends `commands` together; the answers in their order, bytes as they came.

        A command that the server refused for a reason of its own has a `redis.ResponseError` for an answer.
        `writes`: they change something, which replicas are to have as well where the address says so.
        `patience`: seconds for which the commands are sent again, all of them, after a fault that passes; `PATIENCE`
        unless said.
        Raises a `StoreError` that says what to do.
        """
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        if self._closed.is_set():
            raise self.closed()
        for pause in _pauses():
            try:
                return self._ask_once(commands, writes)
            except redis.RedisError as error:
                if self._closed.is_set():
                    raise self.closed() from error
                if not passes(error) or time.monotonic() + pause > min(deadline, self._end):
                    raise translate(error, self.address.url) from error
            if self._closed.wait(pause):
                raise self.closed()
        raise AssertionError("there is always another pause")

    def _ask_once(self, commands: Sequence[Command], writes: bool) -> list[Any]:
        replicas = self.address.wait_replicas if writes else 0
        if replicas:
            commands = [*commands, *self._wait_for(replicas)]
        with self._pool.connection() as connection:
            packed = b"".join(itertools.chain.from_iterable(connection.pack_command(*command) for command in commands))
            connection.send_packed_command([packed])
            answers = [_answer(connection) for _ in commands]
        if replicas:
            self._check_replicas(answers[-1])
            del answers[-2:]
        return answers

    # -- replicas

    def _wait_for(self, replicas: int) -> list[Command]:
        """A server that finds nothing to change, as in a repeat, would otherwise not ask its replicas (Valkey)."""
        return [
            ("INCR", f"{self.address.prefix}replicas:asked"),
            ("WAIT", replicas, round(self.address.wait_timeout * 1000)),
        ]

    def _check_replicas(self, answer: Any) -> None:
        if isinstance(answer, redis.ResponseError):
            raise answer
        if answer < self.address.wait_replicas:
            raise StoreUnavailable(
                f"The store {self.address.url} has done what was asked, but only {answer} of "
                f"{self.address.wait_replicas} replicas confirmed it within {self.address.wait_timeout:g} s: it may or "
                "may not survive a failover. Asked again, it is done once. Check the replicas, or lower wait_replicas "
                "in the URL."
            )

    # -- the end

    def hurry(self) -> None:
        """From now on a server that does not answer is soon given up: somebody waits for the end."""
        self._end = time.monotonic() + LAST_PATIENCE

    def close(self) -> None:
        """Ends whoever waits for the server to come back, and disconnects. Idempotent."""
        self._closed.set()
        self._pool.close()

    def closed(self) -> StoreClosed:
        """The error for those who come too late."""
        return StoreClosed(f"the store {self.address.url} is not open: open it first, or keep it open")


class _Pool:
    """So many connections and no more; the one that was used last is the next to be used.

    redis-py's own pool takes data that wait on an idle connection for a fault. Over TLS 1.3 they are session tickets.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._free: queue.LifoQueue[tuple[Any, int]] = queue.LifoQueue()
        for _ in range(address.max_connections):
            self._free.put((None, 0))  # a place without a connection
        self._age = 0
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection for the block, made when there is none yet; not used again where the block fails.

        Raises `StoreBusy` when all are in use for too long.
        """
        try:
            connection, age = self._free.get(timeout=PATIENCE)
        except queue.Empty:
            raise StoreBusy(
                f"The store {self._address.url} has all of its {self._address.max_connections} connections in use. "
                "Try again; max_connections in its URL allows for more."
            ) from None
        if connection is None or connection.pid != os.getpid():  # none crosses a fork
            connection = new_connection(self._address)
        elif age != self._age:
            connection.disconnect()
        age = self._age
        try:
            yield connection
        except BaseException:
            connection.disconnect()
            self._age += 1  # what has cut this one off has probably cut off the others
            raise
        finally:
            if self._closed:
                connection.disconnect()
            self._free.put((connection, age))

    def close(self) -> None:
        """Disconnects those that are not in use; the others follow when they no longer are."""
        self._closed = True
        for connection, _ in list(self._free.queue):
            if connection is not None and connection.pid == os.getpid():
                connection.disconnect()


def new_connection(address: Address) -> Any:
    """A connection of redis-py to the server of `address`, outside any pool and not connected yet."""
    return _CLASSES[address.transport](**_settings(address))


def _settings(address: Address) -> dict[str, Any]:
    """No repeats of redis-py's own, and no more at the beginning than a server of any version understands."""
    return {"protocol": 2, "driver_info": None, "retry": Retry(NoBackoff(), 0), **address.parameters}


def _answer(connection: Any) -> Any:
    """The next answer; faults that concern more than one command are raised."""
    try:
        return connection.read_response(disable_decoding=True)
    except redis.ResponseError as error:
        if passes(error):
            raise
        return error


def _pauses() -> Iterator[float]:
    """Seconds to wait before the next attempt: none at first, then longer and longer, and random, so that those who
    were cut off together do not come back together."""
    yield 0.0
    pause = _FIRST_PAUSE
    while True:
        yield random.uniform(pause / 2, pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
