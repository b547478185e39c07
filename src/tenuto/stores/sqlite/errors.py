"""What SQLite says, as our errors: the one place where the two meet.

Every sentence names the file and what to do about it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from tenuto.errors import (
    InvalidInput,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

__all__ = ["damaged", "translate", "translated"]

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BACKUP = "It was left as it is: put back a copy from a backup, or move it away to start with an empty store"


def damaged(path: Path, what: str) -> StoreCorrupt:
    """The error for a file whose content cannot be used; `what` says why."""
    return StoreCorrupt(f"The store {path} {what}. {_BACKUP}.")


def translate(error: apsw.Error, path: Path, connection: apsw.Connection | None = None) -> StoreError | InvalidInput:
    """`error`, raised while working on the store at `path`, as one of ours.

    `connection`: where it happened. It knows what the system said, and so a quota from a broken disk.
    """
    if isinstance(error, apsw.IOError) and connection is not None and connection.system_errno in _NO_ROOM:
        return _full(path)
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return StoreBusy(
                f"The store {path} is locked by another program. Try again; if it lasts, end the program "
                "that keeps a transaction open on it."
            )
        case apsw.FullError():
            return _full(path)
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return StoreReadOnly(
                f"The store {path} cannot be written: check the permissions of the file and of its folder, "
                "and that the file system is not mounted read-only."
            )
        case apsw.CorruptError():
            return damaged(path, f"is damaged ({error})")
        case apsw.NotADBError():
            return damaged(path, "is not a SQLite database")
        case apsw.CantOpenError():
            return StoreUnavailable(
                f"The store {path} cannot be opened: check that its folder exists and may be entered and written."
            )
        case apsw.IOError():
            return StoreUnavailable(
                f"The disk failed while the store {path} was used ({error}). Check the disk and its mount, then retry."
            )
        case apsw.TooBigError():
            return InvalidInput(f"A value is too large for the store {path}: keep it below 1 GB.")
        case _:
            return StoreError(f"The store {path} could not do what was asked: {error}.")


def _full(path: Path) -> StoreFull:
    return StoreFull(f"There is no room for the store {path}: the disk or its quota is full. Free some space.")


@contextmanager
def translated(path: Path, connection: apsw.Connection | None = None) -> Iterator[None]:
    """Raises what SQLite says inside the block as one of our errors."""
    try:
        yield
    except apsw.Error as error:
        raise translate(error, path, connection) from error
