"""What PostgreSQL says, as our errors: the one place where the two meet.

Every sentence names the store and what to do about it. Passwords are in none: the server never repeats them, and what
the client library says about a URL, which may, is not passed on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as said

from tenuto.errors import (
    InvalidInput,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreGone,
    StoreReadOnly,
    StoreUnavailable,
)

__all__ = ["translate", "translated"]

Error = StoreError | InvalidInput


def translate(error: psycopg.Error, url: str) -> Error:
    """`error`, raised while working on the store at `url` (without secrets), as one of ours."""
    for kinds, kind, sentence in _SAID:
        if isinstance(error, kinds):
            return kind(f"The store {url} {sentence.format(_primary(error))}.")
    if isinstance(error, said.InsufficientPrivilege):
        return _permission(error, url)
    if isinstance(error, psycopg.DataError):
        return InvalidInput(f"A value cannot be stored in the store {url}: {_primary(error)}.")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate is None:
        return _unconnected(error, url)
    return StoreError(f"The store {url} could not do what was asked: {_primary(error)}.")


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raises what PostgreSQL says inside the block as one of our errors."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, url) from error


def _primary(error: psycopg.Error) -> str:
    """The server's own sentence, without its hints and its full stop."""
    text = error.diag.message_primary or str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0].rstrip(".")


# -- what a connected server says --------------------------------------------------------------------------

_Kinds = type[psycopg.Error] | tuple[type[psycopg.Error], ...]

_SAID: tuple[tuple[_Kinds, Callable[[str], Error], str], ...] = (
    (
        (said.LockNotAvailable, said.QueryCanceled, said.DeadlockDetected, said.SerializationFailure),
        StoreBusy,
        "was kept busy by others for too long. Try again; if it lasts, end the session that keeps a transaction open "
        "(pg_stat_activity shows it)",
    ),
    (
        said.IdleInTransactionSessionTimeout,
        StoreBusy,
        "ended a transaction of this program, which stood still in the middle of it for too long. Try again; "
        "nothing of it was stored",
    ),
    (
        said.ReadOnlySqlTransaction,
        StoreReadOnly,
        "cannot be written: the server is a standby, or its transactions are read-only by default. Name the primary",
    ),
    ((said.DiskFull,), StoreFull, "has no room left: its disk is full. Free some space"),
    (said.OutOfMemory, StoreFull, "has no memory left on its server. Give it more, or less to do"),
    (
        (said.TooManyConnections,),
        StoreUnavailable,
        "has no connection left for us. Raise max_connections, or end sessions that are not needed",
    ),
    (
        (said.AdminShutdown, said.CrashShutdown, said.CannotConnectNow, said.DatabaseDropped),
        StoreUnavailable,
        "went away: {}. Start the server if it is not about to come back",
    ),
    (
        (said.InvalidPassword, said.InvalidAuthorizationSpecification),
        StoreError,
        "does not let us in: {}. Check user and password in the URL",
    ),
    (
        (said.DataCorrupted, said.IndexCorrupted),
        StoreCorrupt,
        "is damaged ({}). It was left as it is: put back a copy from a backup",
    ),
    (
        (said.UndefinedTable, said.UndefinedColumn, said.InvalidSchemaName, said.UndefinedFunction),
        StoreGone,
        "has lost a part of its schema while it was in use ({}). Open it again to use what is there now",
    ),
    (
        (said.DuplicatePreparedStatement, said.InvalidSqlStatementName),
        StoreError,
        "is behind a pooler that keeps no prepared statements ({}). Add prepare=off to the URL",
    ),
    (
        (said.ProgramLimitExceeded,),
        InvalidInput,
        "does not take a value that is too large ({}). Keep values below 256 MB",
    ),
)


def _permission(error: psycopg.Error, url: str) -> StoreError:
    return StoreError(
        f"The role that uses the store {url} lacks a right: {_primary(error)}. Let the owner run "
        "'tenuto store migrate', and then 'tenuto store grant ROLE' for the role in the URL."
    )


# -- what comes before a connection, or ends one -----------------------------------------------------------

_BEFORE: tuple[tuple[str, str], ...] = (
    (r"password authentication failed|no password supplied|SASL|peer authentication failed", "password"),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", "rules"),
    (r'database "[^"]*" does not exist', "database"),
    (r'role "[^"]*" does not exist|is not permitted to log in', "role"),
    (r"permission denied for database", "connect"),
    (r"starting up|shutting down|recovery mode|not yet accepting|not accepting connections", "starting"),
    (r"too many clients|remaining connection slots|too many connections", "full"),
    (r"read-only|hot standby|in recovery|session is not read-write", "standby"),
    (r"failed to resolve|could not translate host name", "name"),
    (
        r"unrecognized configuration parameter|unsupported startup parameter|invalid value for|invalid .* value",
        "option",
    ),
    (r"invalid response to SSL negotiation|expected authentication request", "stranger"),
    (r"SSL|TLS|certificate", "tls"),
)
_WHAT_TO_DO = {
    "password": "does not let us in: {}. Check user and password in the URL",
    "rules": "does not let us in: {}. Allow this host, user and database in pg_hba.conf",
    "database": "has no such database: {}. Create it, or name another in the URL",
    "role": "does not let us in: {}. Create the role, or name another user in the URL",
    "connect": "does not let us in: {}. Grant CONNECT on the database to this user",
    "starting": "does not take connections yet: {}. Try again in a moment",
    "full": "has no connection left for us: {}. Raise max_connections, or end sessions that are not needed",
    "standby": "cannot be written: {}. Name the primary",
    "name": "cannot be found: {}. Check the host in the URL",
    "option": "does not take a setting of the URL: {}. Leave it out or correct it",
    "stranger": "cannot be used: what answers does not speak the protocol of PostgreSQL ({}). Check host and port",
    "tls": "cannot be reached over TLS as the URL asks: {}. Check sslmode and the certificates",
}
_CLASSES = {
    "standby": StoreReadOnly,
    "starting": StoreUnavailable,
    "full": StoreUnavailable,
    "name": StoreUnavailable,
}
"""The rest does not pass by waiting."""
_PREFIX = re.compile(
    r'^(connection (failed|is bad): )?(connection to server (at|on socket) "[^"]*"(, port \d+| \([^)]*\), port \d+)? '
    r"failed: )?((FATAL|ERROR): +)?"
)


def _unconnected(error: psycopg.Error, url: str) -> StoreError:
    """The connection was not made, or it broke: there is no code, only what the client library says."""
    lines = str(error).strip().splitlines() or ["it closed the connection"]
    text = _PREFIX.sub("", lines[0]).rstrip(".")
    for pattern, name in _BEFORE:
        if re.search(pattern, str(error), re.IGNORECASE):
            return _CLASSES.get(name, StoreError)(f"The store {url} {_WHAT_TO_DO[name].format(text)}.")
    return StoreUnavailable(
        f"The store {url} cannot be reached: {text}. Check that the server runs and that host and port are right."
    )
