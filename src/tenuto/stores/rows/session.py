"""Named queries on a connection, and what is remembered between the statements of a transaction.

Each SQL engine has its own queries under the same names, and says here how they are run. Reads give one value, JSON
where it is more than a number; writes of many rows are one statement.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from tenuto.stores.rows.changes import Changes
from tenuto.tasks.clock import Millis

__all__ = ["Clock", "Header", "NewTask", "Session", "Statements"]


class Header(NamedTuple):
    """Where numbers, cursors and the clock stand: what was used last."""

    number: int
    cursor: int
    clock: Millis


class NewTask(NamedTuple):
    """A task as it is first written; see `layout`."""

    number: int
    id: str
    lane: int
    state: int
    rank: int
    due: int | None
    goal: int
    root: int | None
    parent: int | None
    parked: str | None
    unique_key: str | None
    finished: int | None
    result: str | None
    live: str
    fixed: str


class Statements(Protocol):
    """Runs an engine's queries in the open transaction of a connection."""

    most_kept_back: int
    """Tasks that may have changed before they are written, though the rules go on: an engine that is another process
    can be at work meanwhile."""

    @property
    def passes_on(self) -> bool:
        """Whether others learn of tags and virtual times from `Session.changes`: they need not be written yet."""

    def header(self) -> Header:
        """Where the store stands."""

    def value(self, name: str, *parameters: Any) -> Any:
        """The one value that a query gives; None when it gives no row."""

    def run(self, name: str, *parameters: Any) -> None:
        """Runs a query that gives nothing; an engine may wait with that until the next one that gives something."""

    def run_rows(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Runs a query for all of `rows`, in few statements."""

    def count(self, name: str, *parameters: Any) -> int:
        """Runs a query that gives nothing; how many rows it has changed."""

    def insert_tasks(self, tasks: Sequence[NewTask]) -> None:
        """Writes new rows."""

    def first_cursor(self, last: int, now: Millis) -> int:
        """The cursor of the first event of this transaction, after `last`."""

    def raise_floor(self, header: Header) -> None:
        """Before rows are removed: what they used up is never used again."""


class Clock:
    """The engine's clock: the wall clock, except that it never goes back."""

    def __init__(self, wall: Callable[[], Millis]) -> None:
        self._wall = wall
        self._latest: Millis = 0

    def now(self, stored: Millis = 0) -> Millis:
        """Now; not earlier than `stored`, nor than what was said before."""
        self._latest = max(self._latest, self._wall(), stored)
        return self._latest


class Session:
    """The open transaction of a connection."""

    def __init__(self, statements: Statements, clock: Clock) -> None:
        self.statements = statements
        self.value = statements.value
        self.run = statements.run
        self.run_rows = statements.run_rows
        self.count = statements.count
        self._clock = clock
        self._now: Millis | None = None
        self._nonce = 0
        self._stands: Header | None = None
        self.changes = Changes()
        """what this transaction has changed so far"""

    @property
    def now(self) -> Millis:
        """The engine's clock: the same instant for the whole transaction."""
        if self._now is None:
            self._now = self._clock.now(self.stands.clock)
        return self._now

    @property
    def stands(self) -> Header:
        """The last number, the last cursor and the last instant that were used before."""
        if self._stands is None:
            self._stands = self.statements.header()
        return self._stands

    def nonce(self) -> int:
        """A fresh random number from 1 to 2**53 - 1: drawn once for a transaction, then counted on."""
        if not self._nonce:
            self._nonce = secrets.randbelow(2**52)
        self._nonce += 1
        return self._nonce
