"""The server behind a store: whether it can be used at all, and what it keeps when it crashes.

`examine` is asked when a store is opened, before anything is written. It refuses, in one sentence each: a version
before 6.2, a cluster, a replica, and a server that throws keys away when its memory is full (`rights` does the same for
users). `Server.durability` says plainly what can be lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

from tenuto.errors import StoreError, StoreReadOnly, StoreUnavailable
from tenuto.stores.redis.connection import Connections
from tenuto.stores.redis.errors import CLUSTER, translate

__all__ = ["OLDEST", "Persistence", "Server", "examine", "judged"]

OLDEST = (6, 2)
"""The oldest Redis that is supported. Valkey tells the version of Redis that it is compatible with."""


class Persistence(StrEnum):
    """What the server writes to its disk."""

    NOTHING = "nothing"
    SNAPSHOTS = "snapshots"
    EVERYSEC = "everysec"
    ALWAYS = "always"
    SYSTEM = "system"
    """a log, flushed when the operating system likes to (appendfsync no)"""
    LOG = "log"
    """a log, and how often it is flushed may not be asked"""


_SENTENCES = {
    Persistence.NOTHING: (
        "writes nothing to its disk (no persistence): a restart loses everything. Set appendonly yes, and appendfsync "
        "always to lose nothing"
    ),
    Persistence.SNAPSHOTS: (
        "writes snapshots only (RDB): a crash loses everything since the last one. Set appendonly yes, and appendfsync "
        "always to lose nothing"
    ),
    Persistence.EVERYSEC: (
        "writes a log, flushed to the disk every second (appendfsync everysec): a crash of the machine can lose about "
        "a second, two at worst. appendfsync always loses nothing"
    ),
    Persistence.ALWAYS: (
        "flushes each write to the disk before it answers (appendfsync always): a crash loses nothing that was answered"
    ),
    Persistence.SYSTEM: (
        "leaves it to the operating system when its log reaches the disk (appendfsync no): a crash of the machine can "
        "lose half a minute or more. appendfsync always loses nothing"
    ),
    Persistence.LOG: (
        "writes a log; how often that is flushed to the disk is not for this user to ask (CONFIG GET): it is every "
        "second unless somebody changed it, and a crash can lose as much"
    ),
}
_LOSES_MUCH = frozenset({Persistence.NOTHING, Persistence.SNAPSHOTS, Persistence.SYSTEM})


@dataclass(frozen=True)
class Server:
    """What is known of a server that can be used."""

    name: str
    """product and version, such as `Redis 7.0.15`"""
    persistence: Persistence
    replicas: int
    """connected now"""
    wait_replicas: int
    """that have a write before it is answered"""
    memory: int
    """bytes used"""
    memory_limit: int
    """bytes; 0: as much as the machine has"""

    @property
    def durability(self) -> str:
        """What a crash can lose, in sentences."""
        if self.wait_replicas:
            failover = (
                f"Each write is answered once {_counted(self.wait_replicas)} confirmed it (wait_replicas), so that a "
                "failover to one of these keeps it."
            )
        elif self.replicas:
            failover = (
                f"It has {_counted(self.replicas)}, and a failover can lose what was answered in the moment before it: "
                "wait_replicas in the URL waits for them."
            )
        else:
            failover = "It has no replicas."
        return f"{self.name} {_SENTENCES[self.persistence]}. {failover}"

    @property
    def at_risk(self) -> bool:
        """Whether a crash loses more than a few moments."""
        return self.persistence in _LOSES_MUCH

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "bytes": self.memory,
            "durability": self.durability,
            "server": self.name,
            "persistence": self.persistence.value,
            "replicas": self.replicas,
            "wait_replicas": self.wait_replicas,
            "most_bytes": self.memory_limit or None,
        }


def _counted(replicas: int) -> str:
    return "a replica" if replicas == 1 else f"{replicas} replicas"


def examine(connections: Connections) -> Server:
    """What there is to know about the server. Changes nothing.

    Raises a `StoreError` that says what to do, at once: this is no time to be patient.
    """
    url = connections.address.url
    info, *configured = connections.ask(
        [("INFO",), ("CONFIG", "GET", "appendfsync"), ("CONFIG", "GET", "save")], patience=0
    )
    if isinstance(info, redis.ResponseError):
        raise translate(info, url)
    settings = {
        answer[0].decode(): answer[1].decode()
        for answer in configured
        if not isinstance(answer, redis.ResponseError) and answer
    }
    return judged(_fields(info.decode(errors="replace")), settings, url, connections.address.wait_replicas)


# -- what it says of itself --------------------------------------------------------------------------------


def _fields(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


def judged(info: Mapping[str, str], settings: Mapping[str, str], url: str, wait_replicas: int = 0) -> Server:
    """The server that describes itself by `info` (INFO) and `settings` (CONFIG GET, as far as that is allowed).

    Raises a `StoreError` for one that a store at `url` cannot use.
    """
    valkey = info.get("valkey_version")
    version = info.get("redis_version", "0")
    name = f"Valkey {valkey}" if valkey else f"Redis {version}"
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise StoreError(f"The store {url} is on {name}, and Tenuto needs 6.2 or later: upgrade the server.")
    if info.get("cluster_enabled") == "1" or info.get("redis_mode") == "cluster":
        raise StoreError(f"The store {url} {CLUSTER}.")
    if info.get("redis_mode") == "sentinel":
        raise StoreError(f"The store {url} is a Sentinel, which keeps no data: name the master that it watches.")
    if info.get("role") in {"slave", "replica"}:
        raise StoreReadOnly(
            f"The store {url} cannot be written: its server is a replica of {info.get('master_host')}:"
            f"{info.get('master_port')}. Name the master."
        )
    if info.get("loading") == "1":
        raise StoreUnavailable(f"The store {url} is loading its data from the disk. Try again in a moment.")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise StoreError(
            f"The store {url} is on a server that throws keys away when its memory is full, and tasks with them "
            f"(maxmemory-policy {policy}): set maxmemory-policy noeviction, or name another server."
        )
    return Server(
        name,
        _persistence(info, settings),
        int(info.get("connected_slaves", "0")),
        wait_replicas,
        int(info.get("used_memory", "0")),
        int(info.get("maxmemory", "0")),
    )


def _persistence(info: Mapping[str, str], settings: Mapping[str, str]) -> Persistence:
    if info.get("aof_enabled") != "1":
        return Persistence.SNAPSHOTS if settings.get("save", "unknown") else Persistence.NOTHING
    flushed = {"always": Persistence.ALWAYS, "everysec": Persistence.EVERYSEC, "no": Persistence.SYSTEM}
    return flushed.get(settings.get("appendfsync", ""), Persistence.LOG)
