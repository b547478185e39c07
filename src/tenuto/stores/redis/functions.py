"""The scripts on their server: as functions of a library where it can keep one, else as scripts.

Redis 7 and Valkey keep a library like data: it is in their log, and their replicas have it. A server that has lost it,
or its scripts, gets them again. A user who may not load functions, or a server that has none, is served by scripts,
which do the same and take some 20 microseconds more for each request.
"""

from __future__ import annotations

from typing import Any

import redis

from tenuto.errors import StoreError
from tenuto.stores.redis.connection import Connections
from tenuto.stores.redis.errors import translate
from tenuto.stores.redis.scripts import SCRIPTS, function_library, script

__all__ = ["Scripts", "is_unknown"]

_NOT_FOUND = "Function not found"


class Scripts:
    """The scripts of this engine on the server of one store."""

    def __init__(self) -> None:
        self._as_functions = False

    def load(self, connections: Connections) -> None:
        """Has the server know them: when a store is opened, and when the server has forgotten them."""
        self._as_functions = _load_library(connections)
        if not self._as_functions:
            for told in connections.ask([("SCRIPT", "LOAD", script(name).text) for name in SCRIPTS]):
                if isinstance(told, redis.RedisError):
                    raise translate(told, connections.address.url) from told

    def call(self, name: str, root: str, *given: Any) -> tuple[Any, ...]:
        """The command that runs the script in `lua/<name>.lua` for the store whose key is `root`."""
        if self._as_functions:
            return "FCALL", function_library().function(name), 1, root, *given
        return "EVALSHA", script(name).sha, 1, root, *given


def is_unknown(told: object) -> bool:
    """Whether the server says that it does not know a script."""
    if isinstance(told, redis.exceptions.NoScriptError):
        return True
    return isinstance(told, redis.ResponseError) and (_NOT_FOUND in str(told) or "unknown command" in str(told))


def _load_library(connections: Connections) -> bool:
    """Whether the server has the library, and this user may call its functions."""
    kept = function_library()
    may_call, found = connections.ask([("FCALL", "tenuto", 0), ("FUNCTION", "LIST", "LIBRARYNAME", kept.name)])
    if _NOT_FOUND not in str(may_call) or isinstance(found, redis.RedisError):
        return False
    if found:
        return True
    try:
        (told,) = connections.ask([("FUNCTION", "LOAD", kept.text)], patience=0)
    except StoreError:  # a replica, for one, which can be read nevertheless
        return False
    return not isinstance(told, redis.RedisError) or "already exists" in str(told)
