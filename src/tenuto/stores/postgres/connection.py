"""Store URLs of PostgreSQL, and connections to what they name.

    postgresql://user:password@host:5432/database?schema=tenuto&sslmode=verify-full

Whatever libpq takes may stand in the URL: several hosts (`host1,host2` with `target_session_attrs=read-write` follows
a failover), a Unix socket (`?host=/run/postgresql`), certificates, a service. Two parameters are ours:

 * `schema` (default `tenuto`): several stores can live in one database;
 * `prepare=off`: no prepared statements, for poolers that keep none between transactions (pgbouncer before 1.21).

Connections rely on no state of their session: each statement is its own transaction unless one is begun, and settings
are made inside transactions (`SET LOCAL`). So a pooler may stand between, in transaction mode.

A server that went away without a word is noticed: keepalives and `tcp_user_timeout` end a connection on which nothing
is acknowledged, and a wait for an answer has an end of its own (`Connection.patience`).
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

import psycopg
from psycopg import errors as said
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from tenuto.errors import InvalidInput, StoreError, StoreReadOnly
from tenuto.stores import masked
from tenuto.stores.postgres.errors import translate

__all__ = ["LAST_PATIENCE", "OLDEST", "PATIENCE", "Address", "Connection", "connect", "connect_as"]

OLDEST = 15
"""The oldest PostgreSQL that is supported."""
PATIENCE = 30.0
"""Seconds to wait for an answer before the server is taken for gone."""
LAST_PATIENCE = 1.0
"""The same for a server that cannot be reached when the store is being closed."""

_DEFAULTS: dict[str, str | int] = {
    "application_name": "tenuto",
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}")
_FORM = "postgresql://user:password@host:5432/database"
_OURS = frozenset({"schema", "prepare"})
_KNOWN = frozenset(each.keyword.decode() for each in psycopg.pq.Conninfo.get_defaults())

T = TypeVar("T")


@dataclass(frozen=True)
class Address:
    """What a URL names."""

    url: str
    """without secrets"""
    schema: str
    prepare: bool
    """whether statements may be prepared on the server"""
    parameters: dict[str, Any] = field(repr=False)
    """libpq's, with the password"""

    @classmethod
    def of(cls, url: str) -> Address:
        """Reads `url`. Raises `InvalidInput` when it is not well formed; connects to nothing."""
        shown = masked(url)
        plain, mark, text = url.partition("?")
        ours: dict[str, str] = {}
        theirs: list[str] = []
        for part in text.split("&") if mark else ():
            name, equals, value = part.partition("=")
            if not equals:
                raise InvalidInput(f"{shown!r} has parameters that cannot be read: write ?name=value&name=value")
            if name in ours or any(each.startswith(f"{name}=") for each in theirs):
                raise InvalidInput(f"{shown!r} has the parameter {name!r} twice: give it once")
            if name in _OURS:
                ours[name] = unquote(value)
            elif name in _KNOWN:
                theirs.append(part)
            else:
                raise InvalidInput(
                    f"{shown!r} has the parameter {name!r}, which a PostgreSQL store has not: it takes schema, "
                    "prepare, and what libpq takes (sslmode, connect_timeout, ...)"
                )
        authority, _, path = plain.partition("//")[2].partition("/")
        try:
            if "@" in path or authority.count("@") > 1:
                raise psycopg.ProgrammingError("libpq would take a part of the password for the host")
            parameters = conninfo_to_dict(f"{plain}?{'&'.join(theirs)}")
        except psycopg.Error:  # what it says may hold the password
            raise InvalidInput(
                f"{shown!r} cannot be read: write {_FORM}, with special characters of user and password "
                "percent-encoded (@ is %40, / is %2F, a space is %20)"
            ) from None
        return cls(shown, _schema(ours, shown), _prepare(ours, shown), _DEFAULTS | _checked(parameters, shown))

    @property
    def lock(self) -> int:
        """The advisory lock that transactions of this store take, one after the other."""
        return self.number("store")

    @property
    def callers(self) -> int:
        """The advisory lock that transactions of callers share."""
        return self.number("callers")

    def number(self, name: str) -> int:
        """The advisory lock of a name in this store."""
        digest = hashlib.blake2b(f"tenuto {self.schema} {name}".encode(errors="surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, signed=True)

    @property
    def channel(self) -> str:
        """Where hints of this store are sent."""
        return f"tenuto_{self.schema}"


def _schema(ours: dict[str, str], shown: str) -> str:
    schema = ours.get("schema", "tenuto")
    if not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
        raise InvalidInput(
            f"{shown!r} names the schema {schema!r}: use lower-case letters, digits and _, at most 48, not pg_..."
        )
    return schema


def _prepare(ours: dict[str, str], shown: str) -> bool:
    prepare = ours.get("prepare", "on")
    if prepare not in {"on", "off"}:
        raise InvalidInput(f"{shown!r} has prepare={prepare!r}: write prepare=on or prepare=off")
    return prepare == "on"


def _checked(parameters: dict[str, Any], shown: str) -> dict[str, Any]:
    for port in filter(None, str(parameters.get("port", "")).split(",")):
        if not (port.isdecimal() and 0 < int(port) < 65_536):
            raise InvalidInput(f"{shown!r} has the port {port!r}: use a number from 1 to 65535")
    timeout = str(parameters.get("connect_timeout", "1"))
    if not timeout.isdecimal():
        raise InvalidInput(f"{shown!r} has connect_timeout={timeout!r}: use whole seconds")
    return parameters


# -- connecting --------------------------------------------------------------------------------------------


class Connection(psycopg.Connection[TupleRow]):
    """A connection that does not wait for ever."""

    patience: float | None = PATIENCE
    """seconds to wait for an answer; None: as long as it takes"""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Waits for the server. One that does not answer in time costs the connection: who knows what it still does."""
        limit = self.patience if timeout is None else timeout
        begun = time.monotonic()
        try:
            return super().wait(gen, interval, limit)
        except psycopg.OperationalError as error:
            if timeout is not None or limit is None or error.sqlstate or time.monotonic() < begun + limit:
                raise
            self.pgconn.finish()
            raise said.ConnectionTimeout(f"the server gave no answer within {limit:g} seconds") from None


C = TypeVar("C", bound=Connection)


def connect(address: Address, purpose: str = "") -> Connection:
    """A connection of this module's own kind: see `connect_as`."""
    return connect_as(Connection, address, purpose)


def connect_as(kind: type[C], address: Address, purpose: str) -> C:
    """A connection to the server of `address`, each statement its own transaction unless one is begun.

    `purpose` is added to the application name, for those who look into `pg_stat_activity`.
    Raises a `StoreError` that says what to do.
    """
    parameters = dict(address.parameters)
    if purpose:
        parameters["application_name"] = f"{parameters['application_name']} {purpose}"
    try:
        connection = kind.connect(**parameters, autocommit=True, prepare_threshold=5 if address.prepare else None)
    except psycopg.Error as error:
        raise translate(error, address.url) from error
    try:
        _check_server(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_server(connection: Connection, address: Address) -> None:
    major = connection.info.server_version // 10_000
    if major < OLDEST:
        raise StoreError(
            f"The store {address.url} is on PostgreSQL {major}, and Tenuto needs {OLDEST} or later: upgrade the server."
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in {None, "UTF8"}:
        raise StoreError(
            f"The store {address.url} is in a database with the encoding {encoding}: create one with ENCODING 'UTF8'."
        )
    standby = connection.info.parameter_status("in_hot_standby") == "on"
    read_only = connection.info.parameter_status("default_transaction_read_only") == "on"
    if standby or read_only:
        why = "the server is a standby" if standby else "transactions are read-only by default for this user"
        raise StoreReadOnly(f"The store {address.url} cannot be written: {why}. Name the primary, or another user.")
