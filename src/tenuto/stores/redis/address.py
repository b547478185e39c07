"""Store URLs of Redis and Valkey, and what they name.

    redis://user:password@host:6379/0?namespace=billing
    rediss://...                                            over TLS
    redis+unix://user:password@/run/redis/socket?db=0       over a Unix socket

`valkey://`, `valkeys://` and `valkey+unix://` mean the same. Parameters:

 * `namespace`: several stores can live in one database, each under a prefix of its own;
 * `wait_replicas`: a write is answered only when so many replicas have it (default 0), within
   `wait_timeout` seconds (default 1);
 * `max_connections`: of one store object (default 50); who needs one more waits for it;
 * `socket_timeout`, `socket_connect_timeout`: seconds (default 5); nothing waits for ever;
 * `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`: paths; `ssl_cert_reqs`: `required` (default) or `none`;
   `ssl_check_hostname`: `true` (default) or `false`. As in redis-py.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from tenuto.errors import InvalidInput
from tenuto.stores import masked

__all__ = ["FIRST_WORDS", "SCHEMES", "Address"]

SCHEMES = {
    "redis": "tcp",
    "valkey": "tcp",
    "rediss": "tls",
    "valkeys": "tls",
    "redis+unix": "unix",
    "valkey+unix": "unix",
}
"""How each scheme reaches the server."""

_FORMS = {
    "tcp": "redis://user:password@host:6379/0",
    "tls": "rediss://user:password@host:6379/0",
    "unix": "redis+unix://user:password@/path/to/socket?db=0",
}
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
FIRST_WORDS = frozenset(
    {
        *("agent", "arriving", "bands", "blobs", "budgets", "children", "closed", "count", "cursors", "dag", "days"),
        *(
            "doom",
            "ended",
            "expects",
            "feed",
            "gate",
            "goals",
            "heard",
            "inbox",
            "journal",
            "keys",
            "lanes",
            "ledger",
            "limit",
        ),
        *(
            "limits",
            "lines",
            "owner",
            "paces",
            "parked",
            "ready",
            "replicas",
            "reply",
            "schedules",
            "staged",
            "tag",
            "task",
        ),
        *("tree", "unique", "waits", "walk", "workers"),
    }
)
"""With these the keys of a store without a namespace begin."""
_SOON = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
"""A peer that went away without a word is noticed after about ten seconds, where the system can do that."""


@dataclass(frozen=True)
class Address:
    """What a URL names."""

    url: str
    """without secrets"""
    prefix: str
    """begins every key and channel of this store"""
    wait_replicas: int
    wait_timeout: float
    """seconds"""
    max_connections: int
    transport: str
    """`tcp`, `tls` or `unix`"""
    parameters: Mapping[str, Any] = field(repr=False)
    """of redis-py's connections, with the password"""

    @classmethod
    def of(cls, url: str) -> Address:
        """Reads `url`. Raises `InvalidInput` when it is not well formed; connects to nothing."""
        shown = masked(url)
        try:
            transport = SCHEMES[url.partition(":")[0].lower()]
            parts = urlsplit(url)
            given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
            where = _unix(parts, shown) if transport == "unix" else _tcp(parts, shown)
        except InvalidInput:
            raise
        except (KeyError, ValueError):
            raise InvalidInput(
                f"{shown!r} cannot be read: write {_FORMS['tcp']}, with special characters of user and password "
                "percent-encoded (@ is %40, / is %2F, ? is %3F)"
            ) from None
        values = _values(given, transport, shown)
        database = values.pop("db", None)
        if database is not None:
            if parts.path.strip("/") and transport != "unix":
                raise InvalidInput(f"{shown!r} names two databases, in its path and as db=: name one")
            where["db"] = database
        secrets = {"username": unquote(parts.username or ""), "password": unquote(parts.password or "")}
        replicas, wait = values.pop("wait_replicas", 0), values.pop("wait_timeout", 1.0)
        timeout = max(values.pop("socket_timeout", 5.0), wait + 1.0 if replicas else 0.0)
        return cls(
            url=shown,
            prefix=values.pop("namespace", ""),
            wait_replicas=replicas,
            wait_timeout=wait,
            max_connections=values.pop("max_connections", 50),
            transport=transport,
            parameters={
                "socket_timeout": timeout,
                "socket_connect_timeout": values.pop("socket_connect_timeout", 5.0),
                **where,
                **{name: value for name, value in secrets.items() if value},
                **values,
            },
        )


def _tcp(parts: SplitResult, shown: str) -> dict[str, Any]:
    if "@" in parts.path:
        raise ValueError("a password with a slash that was not encoded, which must not be shown")
    database = unquote(parts.path).strip("/") or "0"
    if not database.isascii() or not database.isdecimal():
        raise InvalidInput(f"{shown!r} names the database {database!r}: use its number, as in {_FORMS['tcp']}")
    if parts.port == 0:
        raise InvalidInput(f"{shown!r} has the port 0: use a number from 1 to 65535")
    if parts.fragment:
        raise InvalidInput(f"{shown!r} has a fragment (#...), which means nothing here: leave it out")
    keepalive = {getattr(socket, name): value for name, value in _SOON.items() if hasattr(socket, name)}
    return {
        "host": parts.hostname or "localhost",
        "port": parts.port or 6379,
        "db": int(database),
        "socket_keepalive": True,
        "socket_keepalive_options": keepalive,
    }


def _unix(parts: SplitResult, shown: str) -> dict[str, Any]:
    path = unquote(parts.path)
    if parts.hostname or not path.strip("/"):
        raise InvalidInput(f"{shown!r} names no Unix socket: write {_FORMS['unix']}")
    return {"path": path, "db": 0}


# -- parameters --------------------------------------------------------------------------------------------


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
            raise ValueError(f"use a whole number from {least} to {most}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    value = float(text) if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) else 0.0
    if not 0.01 <= value <= 600:
        raise ValueError("use seconds, from 0.01 to 600")
    return value


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise ValueError("use letters, digits, '_', '.' and '-', at most 64")
    if text in FIRST_WORDS:
        raise ValueError("keys of a store without a namespace begin with it: use another word")
    return f"{text}:"


def _path(text: str) -> str:
    if not Path(text).is_file():
        raise ValueError("there is no such file")
    return text


def _choice(**values: Any) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text not in values:
            raise ValueError(f"use {' or '.join(values)}")
        return values[text]

    return read


_PARAMETERS: dict[str, Callable[[str], Any]] = {
    "db": _whole(0, 65_535),
    "namespace": _namespace,
    "wait_replicas": _whole(0, 100),
    "wait_timeout": _seconds,
    "max_connections": _whole(2, 10_000),
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
}
_TLS: dict[str, Callable[[str], Any]] = {
    "ssl_ca_certs": _path,
    "ssl_certfile": _path,
    "ssl_keyfile": _path,
    "ssl_cert_reqs": _choice(required="required", none="none"),
    "ssl_check_hostname": _choice(true=True, false=False),
}


def _values(given: list[tuple[str, str]], transport: str, shown: str) -> dict[str, Any]:
    known = _PARAMETERS | (_TLS if transport == "tls" else {})
    values: dict[str, Any] = {}
    for name, text in given:
        if name in _TLS and name not in known:
            raise InvalidInput(f"{shown!r} has {name}, which is of use over TLS only: write rediss://")
        if name not in known:
            raise InvalidInput(
                f"{shown!r} has the parameter {name!r}, which a Redis store has not: it takes {', '.join(known)}"
            )
        if name in values:
            raise InvalidInput(f"{shown!r} has the parameter {name!r} twice: give it once")
        try:
            values[name] = known[name](text)
        except ValueError as error:
            raise InvalidInput(f"{shown!r} has {name}={text!r}: {error}") from None
    if values.get("ssl_cert_reqs") == "none":
        values["ssl_check_hostname"] = False
    return values
