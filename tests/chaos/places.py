"""Where the store of a storm lives, and what can happen to it there: one place for each engine.

Engines with a server have a private one, which is killed and frozen. Each worker reaches it over a network of its own,
and the clients over one that they share: `tests.servers.proxy`, which goes silent, loses answers, cuts and slows down.
The storm itself looks past all that, by `url`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.chaos.plan import Action, Blow
from tests.servers.failover import FailoverPostgres
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer

__all__ = ["PLACES", "FilePlace", "Place", "PostgresPlace", "ServerPlace", "open_place"]

_DOWN = 0.2
"""Of a server that was killed, in parts of the time that a blow lasts: who restarts one does not wait for leases."""
_LOST = 0.1
"""For so long, in the same parts, answers are lost before the connection is cut."""
_SLOW = 0.015
"""Seconds longer, each way."""
_SLOW_BYTES = 2_000_000
"""Per second."""


class Server(Protocol):
    """What a private server must be able to do."""

    port: int

    def kill(self) -> None: ...

    def start(self) -> object: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def close(self) -> None: ...


class Place(Protocol):
    """Of one engine; many storms may rage there, one after the other."""

    name: str
    sql: bool
    """the engine commits the caller's own SQL"""
    faults: tuple[Blow, ...]
    """what can happen to its server and its network"""
    url: str
    """of the store of the present storm, past all faults"""
    blows: int
    """that have fallen on the server and its network"""

    def begin(self, name: str, ways: int) -> None:
        """A new store for a storm of that name, and so many ways to it."""

    def url_of(self, way: int) -> str:
        """The store, over one of the ways."""

    @property
    def whole(self) -> bool:
        """Whether nothing is broken that has to heal."""

    async def strike(self, action: Action, seconds: float) -> None:
        """One blow, which lasts for so long."""

    async def mind(self, *, all_of_it: bool = False) -> None:
        """Heals what has lasted long enough, or all of it."""

    def close(self) -> None:
        """Removes the server. Files stay."""


class FilePlace:
    """SQLite: a file in a folder. Nothing is between a program and its file."""

    name = "sqlite"
    sql = True
    faults: tuple[Blow, ...] = ()
    whole = True
    blows = 0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = ""

    def begin(self, name: str, ways: int) -> None:
        self.url = f"sqlite:///{self._folder / name}.db"

    def url_of(self, way: int) -> str:
        return self.url

    async def strike(self, action: Action, seconds: float) -> None:
        raise ValueError(f"a file has no {action.blow}")

    async def mind(self, *, all_of_it: bool = False) -> None:
        """There is nothing to heal."""

    def close(self) -> None:
        """There is no server."""


@dataclass
class _Wound:
    """Something that heals at its time."""

    heals_at: float
    heal: Callable[[], object]
    of_server: bool


class ServerPlace:
    """An engine with a server. `new_store` makes room for a store of that name, and gives its URL."""

    faults: tuple[Blow, ...] = (
        Blow.KILL_SERVER,
        Blow.FREEZE_SERVER,
        Blow.PARTITION,
        Blow.LOSE_ANSWERS,
        Blow.CUT,
        Blow.SLOW,
    )

    def __init__(self, name: str, server: Server, new_store: Callable[[str], str], *, sql: bool) -> None:
        self.name, self.sql = name, sql
        self.url = ""
        self.blows = 0
        self._server = server
        self._new_store = new_store
        self._ways: list[Proxy] = []
        self._wounds: list[_Wound] = []

    def begin(self, name: str, ways: int) -> None:
        self.url = self._new_store(name)
        self._close_ways()
        self._ways = [Proxy("127.0.0.1", self._server.port).start() for _ in range(ways)]

    def url_of(self, way: int) -> str:
        return self.url.replace(f"127.0.0.1:{self._server.port}", f"127.0.0.1:{self._ways[way].port}")

    @property
    def whole(self) -> bool:
        return not self._wounds

    async def strike(self, action: Action, seconds: float) -> None:
        self.blows += 1
        way = self._ways[action.slot % len(self._ways)]
        match action.blow:
            case Blow.KILL_SERVER:
                await self._settle_server()
                await asyncio.to_thread(self._server.kill)
                self._wound(seconds * _DOWN, self._server.start, of_server=True)
            case Blow.FREEZE_SERVER:
                await self._settle_server()
                await asyncio.to_thread(self._server.freeze)
                self._wound(seconds, self._server.thaw, of_server=True)
            case Blow.PARTITION:
                way.silence()
                self._wound(seconds, lambda: way.heal(cut=action.cut))
            case Blow.LOSE_ANSWERS:
                way.silence(requests=False)
                self._wound(seconds * _LOST, lambda: way.heal(cut=True))
            case Blow.SLOW:
                way.slow(_SLOW, _SLOW_BYTES)
                self._wound(seconds, way.heal)
            case Blow.CUT:
                way.cut()
            case _:
                raise ValueError(f"{action.blow} is no blow for a server")

    async def mind(self, *, all_of_it: bool = False) -> None:
        now = time.monotonic()
        for wound in [wound for wound in self._wounds if all_of_it or now >= wound.heals_at]:
            await asyncio.to_thread(wound.heal)
            self._wounds.remove(wound)

    def close(self) -> None:
        self._close_ways()
        self._server.close()

    def _wound(self, seconds: float, heal: Callable[[], object], *, of_server: bool = False) -> None:
        self._wounds.append(_Wound(time.monotonic() + seconds, heal, of_server))

    async def _settle_server(self) -> None:
        """A server that is down or frozen comes back before the next thing happens to it."""
        for wound in [wound for wound in self._wounds if wound.of_server]:
            await asyncio.to_thread(wound.heal)
            self._wounds.remove(wound)

    def _close_ways(self) -> None:
        for way in self._ways:
            way.close()
        self._ways = []


class PostgresPlace(ServerPlace):
    """PostgreSQL, which can fail over: a standby is made beside the storm, and once it is there the primary dies."""

    faults = (*ServerPlace.faults, Blow.FAIL_OVER)

    def __init__(self) -> None:
        self._service = service = FailoverPostgres()
        self._coming: asyncio.Task[None] | None = None
        super().__init__("postgres", service, lambda name: service.url(service.create_database(name)), sql=True)

    @property
    def whole(self) -> bool:
        return self._coming is None and super().whole

    async def mind(self, *, all_of_it: bool = False) -> None:
        if self._coming is not None and (all_of_it or self._coming.done()):
            await self._fail_over()
        await super().mind(all_of_it=all_of_it)

    async def strike(self, action: Action, seconds: float) -> None:
        if action.blow is not Blow.FAIL_OVER:
            await super().strike(action, seconds)
            return
        self.blows += 1
        await self._settle_server()
        self._coming = asyncio.create_task(asyncio.to_thread(self._service.add_standby, synchronous=True))

    async def _settle_server(self) -> None:
        if self._coming is not None:
            await self._fail_over()
        await super()._settle_server()

    async def _fail_over(self) -> None:
        coming, self._coming = self._coming, None
        if coming is not None:
            await coming
            await asyncio.to_thread(self._service.fail_over)


def _redis(folder: Path) -> Place:
    """Every write is on the disk before it is answered."""
    server = RedisServer(appendonly="always").start()
    return ServerPlace("redis", server, lambda name: server.url(namespace=name), sql=False)


def _postgres(folder: Path) -> Place:
    return PostgresPlace()


PLACES: dict[str, Callable[[Path], Place]] = {"sqlite": FilePlace, "redis": _redis, "postgres": _postgres}


def open_place(name: str, folder: Path) -> Place:
    """A place of the engine `name`. A store that is a file is made in `folder`."""
    return PLACES[name](folder)
