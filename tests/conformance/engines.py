"""The engines that the conformance suite runs against. A new engine is added here, and nowhere else."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import apsw
import psycopg
from psycopg import sql

from tenuto.stores.base import Store
from tenuto.stores.memory import MemoryStore
from tenuto.stores.postgres.store import PostgresStore
from tenuto.stores.redis.store import RedisStore
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.clock import Millis
from tests.servers.postgres import shared_postgres
from tests.servers.redis import shared_redis

__all__ = ["ENGINES", "Clock", "Engine"]

Clock = Callable[[], Millis]

_LAYOUT = resources.files("tenuto.stores.postgres").joinpath("migrations/0001_first.sql").read_text(encoding="utf-8")
_TABLES = _LAYOUT.count("CREATE TABLE ") + 1
"""One is the list of migrations."""
_FIRST_HEADER = re.findall(r"INSERT INTO tenuto.header .*", _LAYOUT)[0].replace("tenuto.header", "{}").rstrip(";")


@dataclass(frozen=True)
class Engine:
    """How a store of one engine is made, and what it can do."""

    name: str
    make: Callable[[Path, Clock], Store]
    """a store in the folder, with this clock; not opened yet. The same folder again is the same content"""
    durable: bool
    """content outlives the store object, and several stores may share it"""
    connect: Callable[[Path], Any] | None = None
    """SQL engines: the caller's own connection to the store in the folder, which begins and ends its transactions"""
    done: Callable[[Path], None] = lambda _: None
    """nobody needs the store in the folder any more, and all have closed it"""

    @property
    def sql(self) -> bool:
        """Has `transact`, and takes trees inside the caller's own transaction."""
        return self.connect is not None


def _memory(folder: Path, clock: Clock) -> Store:
    return MemoryStore(clock=clock)


def _sqlite(folder: Path, clock: Clock) -> Store:
    return SqliteStore(folder / "tenuto.db", clock=clock)


_spare: list[str] = []
"""Schemas of tests that are over, empty again: the server makes a new one in ten times the time."""


def _postgres(folder: Path, clock: Clock) -> Store:
    name = folder / "schema"
    if not name.exists():
        name.write_text(_spare.pop() if _spare else f"t_{secrets.token_hex(8)}")
    return PostgresStore(f"{_postgres_url(name.read_text())}&schema={name.read_text()}", clock=clock)


def _emptied(folder: Path) -> None:
    """Makes the schema one of a new store, unless a test has made it another one, or left a transaction open there."""
    name = folder / "schema"
    if not name.exists():
        return
    schema = name.read_text()
    with contextlib.suppress(psycopg.Error), shared_postgres().connect() as admin:
        found = admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
        tables = sorted(row[0] for row in found)
        if len(tables) != _TABLES:
            return
        emptied = [
            sql.SQL("DELETE FROM {}").format(sql.Identifier(schema, table))
            for table in tables
            if table != "tenuto_migration"
        ]
        begun = sql.SQL(_FIRST_HEADER).format(sql.Identifier(schema, "header"))
        with admin.transaction():
            admin.execute("SET LOCAL lock_timeout = '200ms'")
            admin.execute(sql.SQL("; ").join([*emptied, begun]))
        _spare.append(schema)


def _postgres_url(schema: str) -> str:
    """Tables that are named without their schema are in this one, too."""
    return shared_postgres().url(options=f"-c search_path={schema}")


def _postgres_connection(folder: Path) -> psycopg.Connection[Any]:
    """The caller's; where there is no store in the folder, to another database."""
    name = folder / "schema"
    if not name.exists():
        return shared_postgres().connect(shared_postgres().create_database())
    return psycopg.connect(_postgres_url(name.read_text()), autocommit=True)


def _redis(folder: Path, clock: Clock) -> Store:
    name = folder / "namespace"
    if not name.exists():
        name.write_text(f"t_{secrets.token_hex(8)}")
    return RedisStore(shared_redis().url(namespace=name.read_text()), clock=clock)


def _sqlite_connection(folder: Path) -> apsw.Connection:
    return apsw.Connection(str(folder / "tenuto.db"))


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("memory", _memory, durable=False),
        Engine("sqlite", _sqlite, durable=True, connect=_sqlite_connection),
        Engine("redis", _redis, durable=True),
        Engine("postgres", _postgres, durable=True, connect=_postgres_connection, done=_emptied),
    )
}
