"""The rows of a store in SQL: `stores.tables.Tables`, over one connection inside one transaction.

Shared by the SQL engines. Rows are read in bulk and kept while they are true; changes are kept until the transaction
ends, or until a query could see them, and are written in bulk. What an engine adds are its queries, by name, and how
they are run (`Statements`).

Each file adds the tables of one subject to the one before: session (statements), lanes, tasks, claims, relations
(keys, edges, waits), inboxes (and journals), money, timers (and schedules, workers, the feed, purging).
"""

from __future__ import annotations

import math

from tenuto.stores.rows.changes import Changes, changes_of, read_changes
from tenuto.stores.rows.session import Clock, Header, NewTask, Statements
from tenuto.stores.rows.timers import TimerRows
from tenuto.stores.tables import Tables

__all__ = ["Changes", "Clock", "Header", "NewTask", "Rows", "Statements", "changes_of", "read_changes"]

_MOST_KEPT = 4_096
"""Tasks that are remembered from one transaction to the next."""


class Rows(TimerRows, Tables):
    """The rows, as one transaction sees them."""

    def begin_again(self, stands: Header | None = None) -> None:
        """The next transaction begins, nobody else has written since the last one, and that one was committed.

        `stands`: where the store stands now, where the engine has found that out; else it is counted on.

        Tasks that are not final are remembered: what was submitted here is often claimed here, and what was claimed
        here will be reported here.
        """
        self._now = None
        self._nonce = 0
        self.changes = Changes()
        if stands is not None:
            self._stands, self._number, self._cursor = stands, 0, 0
        self._absent.clear()
        self.planned.clear()
        self._keys.clear()
        self._steps.clear()
        self._sizes.clear()
        self._last.clear()
        if len(self._started) > _MOST_KEPT:
            self._started.clear()
        self.trim_books()
        if len(self.rows) > _MOST_KEPT:
            self.rows.clear()
            self.numbers.clear()
        else:
            for row in self._final:
                if row.task.is_final and self.rows.get(row.task.id) is row:
                    self.rows.pop(row.task.id)
                    self.numbers.pop(row.number, None)
        self._final.clear()

    def follow(self, changes: Changes) -> None:
        """Takes over what another process has changed since the last transaction here."""
        self.follow_lanes(changes)
        self._started.clear()
        self.forget_books()
        for number, due in changes.tasks.items():
            self.dues.put(number, due)
            task_id = self.numbers.pop(number, None)
            if task_id is not None:
                del self.rows[task_id]
        for task_id in changes.awaited:
            row = self.rows.get(task_id)
            if row is not None:
                row.awaited = True
        for key in changes.limits:
            self._usages.pop(key, None)
        if changes.limits or changes.timers:
            self._next_opens = -math.inf
            self.next_timer = None

    @property
    def header(self) -> Header:
        """Where the store stands after this transaction."""
        return Header(self._number or self.stands.number, self.last_cursor(), self.now)
