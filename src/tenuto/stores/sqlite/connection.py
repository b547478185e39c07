"""Opening the file, and beginning transactions on it.

Every connection is set up the same way: write-ahead log, `synchronous=FULL` (a commit that was answered survives a
power cut), and no busy handler. SQLite's own handler sleeps in growing steps, so that of several processes the one
that has waited longest is the least likely to be next; `begin` waits in short random steps instead.

A file is only ever used when it is empty or ours: it carries our `application_id`, and the number of its schema in
`user_version`. Anything else is refused and left as it is.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import time
from contextlib import closing
from pathlib import Path

import apsw

from tenuto.errors import StoreBusy, StoreCorrupt, StoreGone, StoreReadOnly, StoreUnavailable
from tenuto.stores.sqlite.errors import damaged, translate, translated

__all__ = ["APPLICATION_ID", "BUSY_TIMEOUT", "Identity", "begin", "connect", "is_there", "prepare_file", "roll_back"]

APPLICATION_ID = 0x54454E55
"""`TENU`: bytes 68 to 71 of the file."""

BUSY_TIMEOUT = 30.0
"""Seconds that a transaction waits for other processes before it gives up with `StoreBusy`."""

_PAGE = 4096
_CACHE_KIB = 32_768
_SHORT_WAITS = (0.00001, 0.00006)
"""Seconds; the writer's pause between transactions is longer, so that whoever waits gets its turn."""
_LONG_WAITS = (0.0005, 0.003)
_MOST_SHORT = 250
"""Waits after which the steps get longer, to leave the processor to those who hold the lock."""


_SET_UP = 5.0
"""Seconds for which opening goes on while others do the same."""


def is_there(path: Path) -> bool:
    """Whether there is a store at `path`, or something that cannot become one and is told so when it is opened.

    Changes nothing. Raises `StoreCorrupt` for what belongs to another program, or is damaged.
    """
    _check_log(path)
    if not path.is_file():
        return path.exists()
    if not path.stat().st_size:
        return False
    with translated(path), closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        connection.set_busy_timeout(5_000)
        _check_owner(connection, path)
        return bool(connection.pragma("application_id") == APPLICATION_ID)


def prepare_file(path: Path) -> None:
    """Makes the folder and the file where there are none, for their owner's eyes only.

    Raises a `StoreError` when that cannot be done, or when `path` is no regular file.
    """
    try:
        if path.is_dir():
            raise StoreUnavailable(f"The store {path} is a folder: name a file in it, such as {path / 'tenuto.db'}.")
        _make_folder(path.parent)
        _check_log(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR)
        os.close(descriptor)
    except FileNotFoundError as error:
        raise StoreUnavailable(f"The store {path} cannot be made: {error.strerror}. Check its path.") from error
    except NotADirectoryError as error:
        raise StoreUnavailable(f"The store {path} cannot be made: a part of its path is a file.") from error
    except PermissionError as error:
        raise StoreReadOnly(
            f"The store {path} may not be written by this user: check the permissions of the file and of its folder."
        ) from error
    except OSError as error:
        kind = StoreReadOnly if error.errno == errno.EROFS else StoreUnavailable
        raise kind(f"The store {path} cannot be opened: {error.strerror}.") from error


def _check_log(path: Path) -> None:
    """Raises `StoreCorrupt` for a log without its file: SQLite would throw away what was committed to it."""
    log = path.with_name(f"{path.name}-wal")
    # The file is looked at again: another program may be making both, or closing its own, at this moment.
    if not _size(path) and _size(log) and not _size(path):
        raise StoreCorrupt(
            f"The store {path} is missing or empty, and its log {log} is not: put the file back beside its log, "
            "or move the log away to start with an empty store."
        )


def _size(path: Path) -> int:
    """Bytes of the file at `path`; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def connect(path: Path) -> apsw.Connection:
    """A connection to the file at `path`, which exists; empty or ours, else `StoreCorrupt`."""
    with translated(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=400)
    patient_until = time.monotonic() + _SET_UP
    while True:
        try:
            _set_up(connection, path)
        except StoreBusy:
            # Several that open a new file at once are in each other's way, and SQLite does not wait in every case.
            if time.monotonic() > patient_until:
                connection.close(True)
                raise
            time.sleep(random.uniform(0.001, 0.01))
        except BaseException:
            connection.close(True)
            raise
        else:
            return connection


def _set_up(connection: apsw.Connection, path: Path) -> None:
    with translated(path, connection):
        connection.set_busy_timeout(5_000)  # for the changes of mode below only
        _check_owner(connection, path)
        connection.pragma("page_size", _PAGE)
        if connection.pragma("journal_mode", "wal") != "wal":
            raise StoreUnavailable(
                f"The store {path} is on a file system without shared memory, which several processes need: "
                "use a local disk, not a network mount."
            )
        connection.pragma("synchronous", 2)
        connection.pragma("foreign_keys", 0)
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.pragma("mmap_size", 0)  # a failing disk is then an error, and no signal that ends the process
        connection.pragma("temp_store", 2)
        connection.pragma("trusted_schema", 0)
        connection.pragma("wal_autocheckpoint", 0)  # the writer thread decides when
        connection.pragma("journal_size_limit", 64 * 1024 * 1024)
        connection.set_busy_timeout(0)
    if connection.readonly("main"):
        raise StoreReadOnly(f"The store {path} is read-only: check the permissions of the file and of its folder.")


def _check_owner(connection: apsw.Connection, path: Path) -> None:
    identity = connection.pragma("application_id")
    if identity == APPLICATION_ID:
        return
    empty = connection.execute("SELECT count(*) = 0 FROM sqlite_schema").get
    if identity == 0 and empty:
        return
    if connection.pragma("application_id") != APPLICATION_ID:  # it may have been made between the two looks
        raise damaged(path, "is a SQLite database of another program")


class Identity:
    """Which file it was that was opened under a path.

    A file that is removed stays open, and SQLite goes on writing to it, where nobody will ever find it. So whoever
    keeps a connection looks, before each transaction, whether the path still leads to the same file, and to the same
    log: another copy of SQLite in this process, as Python's `sqlite3` is one, does not see our locks and removes the
    log when it closes the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _file_at(path)
        self._log_path = path.with_name(f"{path.name}-wal")
        self._log = _file_at(self._log_path)

    def check(self) -> None:
        """Raises `StoreGone` when the path leads elsewhere now."""
        present = _file_at(self._path)
        if present is None or present != self._file:
            what = "removed" if present is None else "replaced by another"
            raise StoreGone(
                f"The store {self._path} was {what} while it was in use. Put the file back if you have it, "
                "then start this program again."
            )
        log = _file_at(self._log_path)
        if self._log is not None and log != self._log:
            raise StoreGone(
                f"The log of the store {self._path} was removed while it was in use, and with it the latest changes. "
                "Never open the file of a store with Python's sqlite3 in a program that has the store open: use apsw. "
                "Start this program again."
            )
        self._log = log


def _file_at(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  # three times as fast as Path.stat, and it is asked all the time
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def begin(connection: apsw.Connection, path: Path, timeout: float = BUSY_TIMEOUT) -> bool:
    """Begins a write transaction, waiting up to `timeout` seconds for others; whether it had to wait.

    Raises `StoreBusy` when others kept the file locked for all of that time.
    """
    waits = 0
    deadline = 0.0
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError as error:
            now = time.monotonic()
            deadline = deadline or now + timeout
            if now >= deadline:
                raise StoreBusy(
                    f"Other programs kept the store {path} locked for {timeout:g} seconds. Try again; if it lasts, "
                    "end the program that keeps a transaction open on it."
                ) from error
            waits += 1
            time.sleep(random.uniform(*(_SHORT_WAITS if waits < _MOST_SHORT else _LONG_WAITS)))
        except apsw.Error as error:
            raise translate(error, path, connection) from error
        else:
            return waits > 0


def roll_back(connection: apsw.Connection) -> None:
    """Ends the open transaction without its changes; SQLite may have done so itself after an error."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
