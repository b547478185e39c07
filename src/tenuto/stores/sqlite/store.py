"""`SqliteStore`: the store contract on one file.

The rules answer every verb (`stores.rules`), over rows in SQL (`rows`). Writes go to the writer's thread, where those
that wait at the same time share a transaction and its flush to the disk; reads go to a thread with a connection of its
own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tenuto.errors import StoreClosed
from tenuto.stores.absent import no_store
from tenuto.stores.base import Hint, Submitted
from tenuto.stores.rows import Clock
from tenuto.stores.rows.store import RowStore
from tenuto.stores.rules.work import Work
from tenuto.stores.sqlite import maintenance
from tenuto.stores.sqlite.callers import CallersError, recorded_with, submit_inside
from tenuto.stores.sqlite.connection import BUSY_TIMEOUT, connect, is_there, prepare_file
from tenuto.stores.sqlite.forks import check_fork, note_closed, note_opened
from tenuto.stores.sqlite.hints import Hints
from tenuto.stores.sqlite.reader import Reader
from tenuto.stores.sqlite.schema import migrate
from tenuto.stores.sqlite.writer import Writer
from tenuto.tasks.clock import Millis, wall_clock
from tenuto.tasks.goal import Tree
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Recorded, Step

__all__ = ["SqliteStore"]

T = TypeVar("T")

_inherited: list[object] = []
"""What a process got by a fork. It is never touched again: a thread of the parent may have been at work on it."""


class SqliteStore(RowStore):
    """A store in the file at `path`."""

    _writer: Writer | None

    def __init__(
        self, path: str | Path, *, clock: Callable[[], Millis] = wall_clock, busy_timeout: float = BUSY_TIMEOUT
    ) -> None:
        """`busy_timeout`: seconds to wait for other programs that keep the file locked."""
        super().__init__()
        self.path = Path(path).expanduser().absolute()
        self.url = f"sqlite:///{self.path}"
        self._clock = Clock(clock)
        self._busy_timeout = busy_timeout
        self._hints = Hints(self.path)

    # -- opening and closing

    def _open(self, create: bool) -> None:
        if self._process != os.getpid():
            check_fork(self.path)
            _inherited.extend([self._hints, self._opening])
            self._hints = Hints(self.path)
            self._opening = threading.Lock()
            self._process = os.getpid()
        with self._opening:
            if self._writer is not None:
                return
            note_opened(self.path)
            try:
                self._connect(create)
            except BaseException:
                note_closed(self.path)
                raise
            self._hints.open()

    def _connect(self, create: bool) -> None:
        if not create and not is_there(self.path):
            raise no_store(self.path)
        prepare_file(self.path)
        connection = connect(self.path)
        try:
            migrate(connection, self.path)
        finally:
            connection.close()
        reader = Reader(self.path, self._clock)
        try:
            self._writer = Writer(self.path, self._clock, self._hints, self._busy_timeout)
        except BaseException:
            reader.close()
            raise
        self._reader = reader

    def _close(self) -> None:
        with self._opening:
            if self._end_threads():
                note_closed(self.path)
            self._hints.close()

    def _closed(self) -> StoreClosed:
        if self._process != os.getpid():
            check_fork(self.path)
        return StoreClosed(f"the store {self.path} is not open: open it first, or keep it open")

    # -- writing

    async def _submit_inside(self, connection: Any, trees: Sequence[Tree]) -> Submitted:
        if self._process != os.getpid():
            raise self._closed()
        return submit_inside(connection, self.path, self._clock, trees)

    async def transact(self, hold: Hold, step: Step, work: Callable[[Any], bytes], lease: Millis) -> Recorded:
        def verb(inside: Work) -> Recorded:
            return recorded_with(inside, hold, step, work, lease)

        try:
            return await self._write(verb, alone=True)
        except CallersError as error:
            raise error.error from None

    # -- hints

    def listen(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        return self._hints.listen(listener)

    # -- maintenance

    async def info(self) -> dict[str, Any]:
        """What there is to know about the file: path, schema, sizes in bytes, counts."""
        return await asyncio.to_thread(maintenance.info, self.path)

    async def check(self) -> list[str]:
        """What is wrong with the file, in sentences: SQLite's own check, then what must hold between the rows.

        It reads all of the file: about a second for each gigabyte.
        """
        return await asyncio.to_thread(maintenance.check, self.path)

    async def compact(self) -> None:
        """Gives the room that a purge has freed back to the disk. Writers wait meanwhile."""
        await asyncio.to_thread(maintenance.compact, self.path, self._busy_timeout)
