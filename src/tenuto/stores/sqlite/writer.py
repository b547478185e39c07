"""The writer: one thread that commits for everyone in this process.

Requests queue up while a transaction is at work; the next one takes all that waits, up to a bound, and commits it with
one flush to the disk. There is no timer: on an idle store a request is taken at once, so that batching costs no
latency. A request that fails must not harm those it happened to share a transaction with: all is rolled back, and each
is tried again by itself.

Several processes take turns: the file has one lock, which whoever asks first after a commit gets. A writer that met
others lately pauses for a moment between two transactions, so that they get theirs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import apsw

from tenuto.errors import TenutoError
from tenuto.stores.requests import Mailbox, Request, answer, commit
from tenuto.stores.rows import Clock, Rows
from tenuto.stores.rows.store import MOST_WEIGHT
from tenuto.stores.rules.work import Work
from tenuto.stores.sqlite.connection import BUSY_TIMEOUT, Identity, begin, connect, roll_back
from tenuto.stores.sqlite.errors import translate
from tenuto.stores.sqlite.hints import Hints
from tenuto.stores.sqlite.statements import SqliteStatements

__all__ = ["Writer"]

_CHECKPOINT_PAGES = 4_000
_MOST_LOG_PAGES = 16 * _CHECKPOINT_PAGES
_POLITE = 0.1
"""Seconds for which a writer that had to wait for another process leaves pauses."""
_PAUSE = 0.00015


class Writer:
    """The thread, its connection, and the requests on their way to it."""

    def __init__(self, path: Path, clock: Clock, hints: Hints, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self._path = path
        self._clock = clock
        self._hints = hints
        self._busy_timeout = busy_timeout
        self._mailbox: Mailbox[Work] = Mailbox()
        self._identity = Identity(path)
        self._connection = connect(path)
        self._rows = Rows(SqliteStatements(self._connection), clock)
        self._version: int | None = None
        """the file's after the last transaction here, which SQLite raises with every transaction of whomever"""
        self._polite_until = 0.0
        self._moved = 0
        self._thread = threading.Thread(target=self._run, name="tenuto-sqlite-writer", daemon=True)
        self._thread.start()

    @property
    def connection(self) -> apsw.Connection:
        """The writer's connection, for work that runs inside one of its requests."""
        return self._connection

    def put(self, request: Request[Work]) -> bool:
        """Adds a request; False when the thread is about to end."""
        return self._mailbox.put(request)

    def close(self) -> None:
        """Does all that was asked for, then ends. Blocks until then."""
        self._mailbox.close()
        self._thread.join()

    # -- the thread

    def _run(self) -> None:
        wait: float | None = None
        while True:
            requests = self._mailbox.take(MOST_WEIGHT, wait)
            if requests is None:
                break
            if requests:
                hint = commit(requests, self._transaction)
                answer(requests)
                if hint is not None:
                    self._hints.tell(hint)
            wait = self._hints.send()
            if requests:
                self._checkpoint(_CHECKPOINT_PAGES)
        self._checkpoint(1)
        self._connection.close()

    def _transaction(self, requests: Sequence[Request[Work]]) -> BaseException | None:
        """Runs and commits `requests`; what went wrong, in which case nothing is stored."""
        works: list[Work] = []
        try:
            self._begin()
            self._rows.load(task_id for request in requests for task_id in request.wants)
            for request in requests:
                work = Work(self._rows)
                works.append(work)
                request.answer = request.verb(work)
                self._rows.write_purges()
                request.hint = work.hint
            self._rows.write()
            self._connection.execute("COMMIT")
            self._version = self._connection.data_version()
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever asked, and the thread goes on
            told = translate(error, self._path, self._connection) if isinstance(error, apsw.Error) else error
            self._undo(works)
            return told
        return None

    def _begin(self) -> None:
        self._identity.check()
        now = time.monotonic()
        if now < self._polite_until:
            time.sleep(_PAUSE)
        if begin(self._connection, self._path, self._busy_timeout):
            self._polite_until = time.monotonic() + _POLITE
        if self._connection.data_version() == self._version:
            self._rows.begin_again()
        else:  # others have written since
            self._rows = Rows(SqliteStatements(self._connection), self._clock)

    def _undo(self, works: Sequence[Work]) -> None:
        self._version = None
        for work in works:
            for step in reversed(work.undo):
                step()
        try:
            roll_back(self._connection)
        except apsw.Error:
            self._reopen()

    def _reopen(self) -> None:
        """The connection is of no use any more."""
        try:
            self._connection.close(True)
            self._connection = connect(self._path)
        except (apsw.Error, TenutoError):
            return  # the next request meets the same error, and says so

    def _checkpoint(self, pages: int) -> None:
        """Moves the log into the file once `pages` were written since the last time."""
        try:
            written = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
            if written - self._moved < pages:
                return
            self._moved = written
            log, _ = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if log > _MOST_LOG_PAGES:
                self._restart_log()
        except apsw.Error:
            return  # a full disk, or a reader in the way: it is tried again later

    def _restart_log(self) -> None:
        """Readers that come without a pause keep the log from being used anew: waits for a gap between them."""
        self._connection.set_busy_timeout(100)
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        finally:
            self._connection.set_busy_timeout(0)
