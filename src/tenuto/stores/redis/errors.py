"""What Redis says, as our errors: the one place where the two meet.

Every sentence names the store and what to do about it. A server answers with a code and its own words; inside a script
the code may be lost (Redis 6.2 puts it in the middle, Redis 7 and Valkey reword some), so that the words count as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import redis

from tenuto.errors import InvalidInput, StoreBusy, StoreError, StoreFull, StoreReadOnly, StoreUnavailable

__all__ = ["CLUSTER", "passes", "refusal", "translate"]

Error = StoreError | InvalidInput

CLUSTER = "is a Redis Cluster, which Tenuto cannot use yet: name a server without cluster mode (cluster-enabled no)"


class _Kind:
    """One thing that a server may say: how it is recognised, what it is to us, and whether it passes by waiting."""

    def __init__(self, words: str, error: Callable[[str], Error], sentence: str, *, passes: bool = False) -> None:
        self.words = re.compile(words)
        self.error = error
        self.sentence = sentence
        self.passes = passes


_RIGHTS = (
    "does not let this user do what it has to: {}. Give it the rights that docs/redis.md lists "
    "(ACL SETUSER), for the keys and channels of its namespace"
)

_KINDS = (
    _Kind(
        r"\bLOADING\b|is loading the dataset in memory",
        StoreUnavailable,
        "is loading its data from the disk and answers when that is done. Try again in a moment",
        passes=True,
    ),
    _Kind(
        r"\bREADONLY\b|against a read only replica",
        StoreReadOnly,
        "cannot be written: its server is a read-only replica. Name the master, or promote this one (REPLICAOF NO ONE)",
        passes=True,
    ),
    _Kind(
        r"\bMASTERDOWN\b|\bNOREPLICAS\b|not enough good replicas",
        StoreUnavailable,
        "does not take writes, because its server misses its master or replicas: {}. Check the replication",
        passes=True,
    ),
    _Kind(
        r"max number of clients",
        StoreUnavailable,
        "has no connection left for us. Raise maxclients, or end clients that are not needed",
        passes=True,
    ),
    _Kind(
        r"\bOOM\b|command not allowed when used memory",
        StoreFull,
        "has no room left: its server has used up maxmemory. Raise it, or purge what is over",
    ),
    _Kind(
        r"(?s)\bMISCONF\b.*No space left",
        StoreFull,
        "has no room left: the disk of its server is full. Free some space",
    ),
    _Kind(
        r"\bMISCONF\b",
        StoreUnavailable,
        "takes no writes, because its server cannot save to its disk; its log says why. Check the room and the rights",
    ),
    _Kind(
        r"\bNOPERM\b|no permissions? to|No permissions to access|executing the script can't|ACL failure",
        StoreError,
        _RIGHTS,
    ),
    _Kind(
        r"\bWRONGPASS\b|invalid username-password|invalid password",
        StoreError,
        "does not let us in: the user or the password in its URL is wrong. Check both",
    ),
    _Kind(
        r"AUTH.* called without any password configured|Client sent AUTH, but no password is set",
        StoreError,
        "does not let us in: its URL has a password, and its server has none. Leave it out, or name a user as well",
    ),
    _Kind(
        r"\bNOAUTH\b|Authentication required|must be called with the client already authenticated",
        StoreError,
        "asks for a password: put it in the URL, as in redis://user:password@host:6379/0",
    ),
    _Kind(
        r"DB index is out of range|invalid DB index",
        StoreError,
        "has no database of that number: name a lower one in the URL (the server's setting `databases` is the limit)",
    ),
    _Kind(
        r"\b(CLUSTERDOWN|CROSSSLOT|MOVED)\b|Hash slot not served|non local key in a cluster|in cluster mode",
        StoreError,
        CLUSTER,
    ),
    _Kind(
        r"^\s*BUSY |running a script",
        StoreBusy,
        "is kept busy by a long script of another program. Try again; SCRIPT KILL ends it",
        passes=True,
    ),
    _Kind(
        r"unknown command",
        StoreError,
        "lacks a command that Tenuto needs: {}. Use Redis 6.2 or later with its commands under their own names",
    ),
)

_CODES: dict[type[redis.RedisError], str] = {
    redis.exceptions.BusyLoadingError: "LOADING",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.NoPermissionError: "NOPERM",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.MovedError: "MOVED",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.ClusterCrossSlotError: "CROSSSLOT",
}
"""Codes that redis-py has made a class of, and taken off the words."""

_CERTIFICATE = re.compile(r"SSL|TLS|certificate", re.IGNORECASE)
_TAIL = re.compile(r",? ?script: .*on @user_script:\d+\.?$|^.*@user_script:\d+: -?(@user_script: \d+: )?", re.DOTALL)


def passes(error: redis.RedisError) -> bool:
    """Whether `error` is of a kind that goes away by itself, so that the same request may be made again."""
    kind = _kind(error)
    if kind is not None:
        return kind.passes
    if isinstance(error, redis.exceptions.AuthenticationError):
        return False
    return isinstance(error, redis.ConnectionError | redis.TimeoutError) and not _CERTIFICATE.search(str(error))


def translate(error: redis.RedisError, url: str) -> Error:
    """`error`, raised while working on the store at `url` (without secrets), as one of ours."""
    kind = _kind(error)
    if kind is not None:
        return kind.error(f"The store {url} {kind.sentence.format(_words(error))}.")
    if isinstance(error, redis.TimeoutError):
        if "connecting" in str(error) and url.startswith(("rediss:", "valkeys:")):
            return StoreUnavailable(
                f"The store {url} cannot be reached over TLS in time: its server stands still, or speaks no TLS on "
                "this port (then write redis://)."
            )
        if "connecting" in str(error):
            return StoreUnavailable(
                f"The store {url} cannot be reached: nothing answers at that address in time. Check that the server "
                "runs, the address in the URL, and what stands between (a firewall, a network)."
            )
        return StoreUnavailable(
            f"The store {url} gave no answer in time: its server or the way to it stands still. What was asked for may "
            "have been done; asked again, it is done once."
        )
    if isinstance(error, redis.ConnectionError):
        if _CERTIFICATE.search(str(error)):
            return StoreError(
                f"The store {url} cannot be reached over TLS as the URL asks: {_words(error)}. Check that the server "
                "speaks TLS on this port, and ssl_ca_certs."
            )
        return StoreUnavailable(
            f"The store {url} cannot be reached: {_words(error)}. Check that the server runs, and the address in "
            "the URL."
        )
    if isinstance(error, redis.InvalidResponse):
        return StoreError(
            f"The store {url} cannot be used: what answers there does not speak the protocol of Redis. Check the "
            "address in the URL."
        )
    return StoreError(f"The store {url} could not do what was asked: {_words(error)}.")


def refusal(url: str, what: str) -> StoreError:
    """The error for a user who may not do what a store has to; `what` says what that is."""
    return StoreError(f"The store {url} {_RIGHTS.format(what)}.")


def _kind(error: redis.RedisError) -> _Kind | None:
    said = f"{_CODES.get(type(error), '')} {error}"
    return next((kind for kind in _KINDS if kind.words.search(said)), None)


def _words(error: redis.RedisError) -> str:
    """The server's own sentence, without the place in a script and its full stop."""
    text = _TAIL.sub("", str(error).strip())
    return (text.strip().splitlines() or [type(error).__name__])[0].rstrip(".")
