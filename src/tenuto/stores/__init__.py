"""Where the truth lives: one contract (`base`), several engines.

`open_store` is the door: it chooses the engine by URL, and imports no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from tenuto.errors import InvalidInput, MissingExtra
from tenuto.stores.base import Store
from tenuto.tasks.clock import Millis, wall_clock

__all__ = ["masked", "open_store"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_SECRETS = re.compile(r"//.*@|(?<=[?&])(password|sslpassword|oauth_client_secret)=[^&]*", re.DOTALL)
"""Up to the last @: a password that was not encoded may have one, and slashes too."""
_FORMS = (
    "sqlite:///path/to/file.db, a plain path, postgresql://user:password@host/database, "
    "redis://user:password@host:6379/0, or memory://"
)
_REDIS = frozenset({"redis", "rediss", "redis+unix", "valkey", "valkeys", "valkey+unix"})


def masked(url: str) -> str:
    """`url` without its user and password."""
    return _SECRETS.sub(lambda found: f"{found[1]}=***" if found[1] else "//***@", url)


def open_store(url: str, *, clock: Callable[[], Millis] = wall_clock) -> Store:
    """The store that `url` names; not connected yet: `await store.open()`.

    `sqlite:///relative.db` and `sqlite:////absolute.db`, or a plain path: a SQLite file, made where there is none.
    `postgresql://user:password@host:5432/database`: a schema in a PostgreSQL database, see `postgres.connection`.
    `redis://user:password@host:6379/0`: a database of a Redis or Valkey server, see `redis.address`.
    `memory://`: a store in this process's memory. `clock` gives milliseconds since 1970; engines with a server take
    the server's clock unless one is given.
    Raises `InvalidInput` for anything else, and `MissingExtra` for an engine that is not installed.
    """
    if not url.strip():
        raise InvalidInput(f"the store URL is empty: use {_FORMS}")
    if not url.isprintable():
        raise InvalidInput(f"the store URL {masked(url)!r} has a control or unprintable character: use {_FORMS}")
    scheme = _SCHEME.match(url)
    if scheme is None:
        return _sqlite(url, clock)
    kind = scheme[1].lower()
    if kind == "memory" and url[scheme.end() :] == "" and scheme[2]:
        from tenuto.stores.memory import MemoryStore

        return MemoryStore(clock=clock)
    if kind == "sqlite":
        return _sqlite(_path_of(url), clock)
    if kind in {"postgresql", "postgres"} and scheme[2]:
        return _postgres(url, clock)
    if kind in _REDIS and scheme[2]:
        return _redis(url, clock)
    raise InvalidInput(f"{masked(url)!r} is no store URL: use {_FORMS}")


def _path_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidInput(f"{masked(url)!r} is no store URL ({error}): use {_FORMS}") from None
    if not url[len("sqlite:") :].startswith("//"):
        raise InvalidInput(f"{masked(url)!r} lacks slashes: write sqlite:///relative.db or sqlite:////absolute.db")
    if parts.netloc:
        raise InvalidInput(
            f"{masked(url)!r} names the host {parts.hostname or ''!r}, and a SQLite store is a local file: write "
            "sqlite:///relative.db or sqlite:////absolute.db"
        )
    if parts.query or parts.fragment:
        raise InvalidInput(
            f"{masked(url)!r} has parameters, which a SQLite store has not: leave out what follows the path"
        )
    path = unquote(parts.path).removeprefix("/")
    if not path.strip("/"):
        raise InvalidInput(f"{masked(url)!r} names no file: write sqlite:///relative.db or sqlite:////absolute.db")
    return path


def _sqlite(path: str, clock: Callable[[], Millis]) -> Store:
    from tenuto.stores.sqlite import SqliteStore

    return SqliteStore(path, clock=clock)


def _postgres(url: str, clock: Callable[[], Millis]) -> Store:
    try:
        import psycopg  # noqa: F401  # it fails without the library in C that it needs, too
    except ImportError as error:
        raise MissingExtra(
            f"{masked(url)} needs psycopg, which is not part of this installation ({error}): install tenuto[postgres], "
            f"or use another store",
            extra="postgres",
        ) from None
    from tenuto.stores.postgres import PostgresStore

    return PostgresStore(url, clock=clock)


def _redis(url: str, clock: Callable[[], Millis]) -> Store:
    try:
        import redis  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"{masked(url)} needs redis-py, which is not part of this installation ({error}): install tenuto[redis], "
            "or use another store",
            extra="redis",
        ) from None
    from tenuto.stores.redis import RedisStore

    return RedisStore(url, clock=clock)
