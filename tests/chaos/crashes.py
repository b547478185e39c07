"""Servers that crash in the ways that their settings tell apart."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from tests.servers.appendonly import cut_back, sizes
from tests.servers.failover import FailoverPostgres
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer

__all__ = ["CRASHES", "Crash"]

_UNFLUSHED = 1.0
"""Seconds of the log that a power cut takes, where it is flushed every second."""
_OFTEN = 0.02
_DISTANCE = 0.02
"""Seconds between a master and its replicas."""
_PATIENCE = 60.0


class Crash(Protocol):
    """A server, and what happens to it."""

    url: str
    """of the store"""
    promised: float | None
    """the seconds before the crash of which acknowledged work may be lost; None: nothing is promised"""

    def strike(self) -> None:
        """Crashes it, and returns when there is a server again."""

    def close(self) -> None:
        """Removes the servers."""


class _Killed:
    """The process is killed and starts again with its disk."""

    def __init__(self, server: RedisServer | PostgresServer, url: str, promised: float) -> None:
        self._server, self.url = server, url
        self.promised: float | None = promised

    def strike(self) -> None:
        self._server.kill()
        self._server.start()

    def close(self) -> None:
        self._server.close()


class _PowerCut:
    """The machine loses its power: what was not flushed, the log's last second, is gone."""

    promised: float | None = 2.0  # the second until the next flush, and the time that the flush takes

    def __init__(self) -> None:
        self._server = RedisServer(appendonly="everysec", auto_aof_rewrite_percentage=0).start()
        self.url = self._server.url()
        self._kept: deque[tuple[float, Mapping[Path, int]]] = deque(maxlen=round(4 * _UNFLUSHED / _OFTEN))
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="power cut")
        self._watching.start()

    def strike(self) -> None:
        self._server.kill()
        now = time.monotonic()
        self._end_watch()
        flushed = [kept for at, kept in self._kept if at <= now - _UNFLUSHED]
        cut_back(self._server.folder, flushed[-1] if flushed else self._kept[0][1])
        self._server.start()

    def close(self) -> None:
        self._end_watch()
        self._server.close()

    def _watch(self) -> None:
        while not self._ended.wait(_OFTEN):
            self._kept.append((time.monotonic(), sizes(self._server.folder)))

    def _end_watch(self) -> None:
        self._ended.set()
        self._watching.join()


class _Failover:
    """The master is killed, and of two replicas the one that has more is promoted; the other follows it.

    Replicas are some way off. Clients come over a proxy, which leads to the new master, as a virtual address would.
    """

    def __init__(self, wait_replicas: int) -> None:
        self.promised: float | None = 0.0 if wait_replicas else None
        self._servers = [RedisServer(appendonly="yes").start() for _ in range(3)]
        master, *self._replicas = self._servers
        self._proxies = [Proxy("127.0.0.1", master.port).start() for _ in range(2)]
        self._clients, between = self._proxies
        between.slow(_DISTANCE)
        for replica in self._replicas:
            replica.command("REPLICAOF", "127.0.0.1", between.port)
        _await(lambda: all(_linked(replica) for replica in self._replicas), "the replicas do not find their master")
        self.url = f"redis://127.0.0.1:{self._clients.port}/0?wait_replicas={wait_replicas}"

    def strike(self) -> None:
        self._servers[0].kill()
        self._replicas.sort(key=_offset)
        other, chosen = self._replicas
        chosen.promote()
        other.follow(chosen)
        self._clients.redirect("127.0.0.1", chosen.port)

    def close(self) -> None:
        for proxy in self._proxies:
            proxy.close()
        for server in self._servers:
            server.close()


class _PostgresFailover:
    """The primary is killed, and its standby, some way off, is promoted."""

    def __init__(self, *, synchronous: bool) -> None:
        self.promised: float | None = 0.0 if synchronous else None
        self._service = FailoverPostgres()
        self.url = self._service.url("postgres")
        self._service.add_standby(synchronous=synchronous, distance=_DISTANCE)

    def strike(self) -> None:
        self._service.fail_over()

    def close(self) -> None:
        self._service.close()


def _linked(replica: RedisServer) -> bool:
    with replica.client() as client:
        return client.info("replication").get("master_link_status") == "up"


def _offset(replica: RedisServer) -> int:
    """How much it has of what its master wrote."""
    with replica.client() as client:
        return int(client.info("replication")["slave_repl_offset"])


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.01)


def _redis(fsync: str, promised: float) -> Crash:
    server = RedisServer(appendonly=fsync).start()
    return _Killed(server, server.url(), promised)


def _postgres() -> Crash:
    server = PostgresServer(fsync=True).start()
    return _Killed(server, server.url(tcp=True), 0.0)


CRASHES: dict[str, Callable[[], Crash]] = {
    "redis, appendfsync always, killed": lambda: _redis("always", 0.0),
    "redis, appendfsync everysec, killed": lambda: _redis("everysec", 2.0),
    "redis, appendfsync everysec, power cut": _PowerCut,
    "redis, replica promoted": lambda: _Failover(0),
    "redis, replica promoted, wait_replicas=1": lambda: _Failover(1),
    "postgres, killed": _postgres,
    "postgres, standby promoted": lambda: _PostgresFailover(synchronous=False),
    "postgres, synchronous standby promoted": lambda: _PostgresFailover(synchronous=True),
}
"""By what is set and what happens."""
