"""Looking after the store: what its server says of itself, and whether what is stored is sound.

Each over connections of its own; the store need not be open for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import closing
from typing import Any

import redis

from tenuto.stores.absent import no_store
from tenuto.stores.durability import Durability
from tenuto.stores.redis.address import Address
from tenuto.stores.redis.connection import Connections
from tenuto.stores.redis.errors import translate
from tenuto.stores.redis.scripts import script
from tenuto.stores.redis.server import Server, examine

__all__ = ["Maintenance", "must_exist"]

_AT_ONCE = 200
"""Tasks that one script looks at."""

_SENTENCES = {
    "lost": "{} tasks are listed, and what was stored of them is gone",
    "unlisted": "{} tasks are missing from the list of their agent and state",
    "nowhere": "{} ready tasks stand in no lane",
    "closed": "{} ready tasks are in lanes that claims do not look at",
    "untimed": "{} tasks wait for an instant that nobody watches",
    "kept": "{} ended trees would never be purged",
    "unleased": "{} running tasks have no lease, so that nobody would miss their worker",
    "orphaned": "{} tasks have lost their root or their parent",
}


class Maintenance:
    """The part of a store that is `stores.base.Maintained`, and `stores.durability.Configured`."""

    _address: Address

    async def info(self) -> dict[str, Any]:
        """What the server says of itself: memory in bytes (of all that it holds), durability, replicas.

        Raises a `StoreError` where it cannot be used.
        """
        return (await asyncio.to_thread(_server, self._address)).document()

    async def durability(self) -> Durability:
        """What the server is set to keep now."""
        server = await asyncio.to_thread(_server, self._address)
        return Durability(server.durability, server.at_risk)

    async def check(self) -> list[str]:
        """What is wrong with the content, in sentences: what must hold between tasks and indexes.

        It reads every task, some at a time; others go on meanwhile.
        """
        return await asyncio.to_thread(_check, self._address)

    async def compact(self) -> None:
        """Nothing: the server gives the room of what was purged to others by itself."""


def must_exist(connections: Connections) -> None:
    """Raises `NotFound` where there is no store: every script that writes makes its root key."""
    (found,) = connections.ask([("EXISTS", f"{connections.address.prefix}store")])
    if isinstance(found, redis.RedisError):
        raise translate(found, connections.address.url) from found
    if not found:
        raise no_store(connections.address.url)


def _server(address: Address) -> Server:
    with closing(Connections(address)) as connections:
        return examine(connections)


def _check(address: Address) -> list[str]:
    with closing(Connections(address)) as connections:
        examine(connections)
        must_exist(connections)
        faults: Counter[str] = Counter()
        last: bytes | None = b"-inf"
        while last is not None:
            last, names = _page(connections, last)
            faults.update(name.decode() for name in names)
    return [_SENTENCES[name].format(count) for name, count in faults.items()]


def _page(connections: Connections, after: bytes) -> tuple[bytes | None, list[bytes]]:
    address = connections.address
    asked = ("EVAL", script("check").text, 1, f"{address.prefix}store", after, _AT_ONCE)
    (told,) = connections.ask([asked])
    if isinstance(told, redis.RedisError):
        raise translate(told, address.url) from told
    last, names = told
    return last, names
