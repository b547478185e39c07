"""The rows of a store in SQL: `stores.tables.Tables`, over one connection inside one transaction.

Each file adds the tables of one subject to the one before: session (statements), lanes, tasks, claims, relations
(keys, edges, waits), inboxes (and journals), timers (and schedules, workers, the feed, purging).
"""

from __future__ import annotations

from tenuto.stores.sqlite.rows.session import Clock, Connection
from tenuto.stores.sqlite.rows.timers import TimerRows
from tenuto.stores.tables import Tables
from tenuto.tasks.states import State

__all__ = ["Clock", "Connection", "Rows"]

_RUNNING = State.RUNNING
_MOST_KEPT = 4_096
"""Running tasks that are remembered from one transaction to the next."""


class Rows(TimerRows, Tables):
    """The rows, as one transaction sees them."""

    def begin_again(self) -> None:
        """The next transaction begins, nobody else has written since the last one, and that one was committed.

        What is running is remembered: it was claimed here, and will be reported here.
        """
        self._now = None
        self._nonce = 0
        self._absent.clear()
        self._together.clear()
        self._keys.clear()
        self._steps.clear()
        kept = {task_id: row for task_id, row in self.rows.items() if row.task.state is _RUNNING}
        if len(kept) > _MOST_KEPT:
            kept = {}
        self.rows = kept
        self._ids = {row.number: task_id for task_id, row in kept.items()}
