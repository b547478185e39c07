"""What time brings: due tasks, schedules, workers seen; and the feed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tenuto.stores.base import WorkerInfo
from tenuto.stores.rows.dues import MOST_READ
from tenuto.stores.rows.layout import codes, dump
from tenuto.stores.rows.money import MoneyRows
from tenuto.stores.rows.session import Clock, Header, Statements
from tenuto.tasks.clock import Millis
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.schedules import Schedule
from tenuto.tasks.states import State
from tenuto.tasks.task import Task

__all__ = ["TimerRows"]

_numbers = msgspec.json.Decoder(list[int])
_schedule = msgspec.json.Decoder(Schedule)
_schedules = msgspec.json.Decoder(list[Schedule])
_workers = msgspec.json.Decoder(list[WorkerInfo])
_events = msgspec.json.Decoder(list[Event])
_ended = msgspec.json.Decoder(list[tuple[int, int, str]])
_dues = msgspec.json.Decoder(list[tuple[int, int]])
_members = msgspec.json.Decoder(list[tuple[int, str]])

_PURGED = ("events", "steps", "messages", "waits", "tags", "specs", "tasks")


class TimerRows(MoneyRows):
    """Timers, schedules, workers, the feed, and purging."""

    def __init__(self, statements: Statements, clock: Clock) -> None:
        super().__init__(statements, clock)
        self._purged: list[str] = []

    def due(self, limit: int) -> list[Task]:
        at, known = self.dues.first()
        if known and (at is None or at > self.now):
            return []
        self.write_tasks()
        return self.listed(_numbers.decode(self.value("due", self.now, limit)))

    def next_due(self) -> Millis | None:
        at, known = self.dues.first()
        if not known:
            self.write_tasks()
            self.dues.learn(_dues.decode(self.value("dues", MOST_READ)))
            at, _ = self.dues.first()
        if self.next_timer is None:
            self.write_usages()
            self.next_timer = (self.value("next_timer"),)
        return min((each for each in (at, *self.next_timer) if each is not None), default=None)

    # -- schedules

    def schedule(self, name: str) -> Schedule | None:
        text = self.value("schedule", name)
        return None if text is None else _schedule.decode(text)

    def schedules(self) -> list[Schedule]:
        text = self.value("schedules")
        return _schedules.decode(text) if text else []

    def due_schedules(self, limit: int) -> list[Schedule]:
        text = self.value("due_schedules", self.now, limit)
        return _schedules.decode(text) if text else []

    def put_schedule(self, schedule: Schedule) -> None:
        at = None if schedule.paused else schedule.next_at
        self.run("put_schedule", schedule.name, at, dump(schedule))
        self.next_timer, self.changes.timers = None, True

    def drop_schedule(self, name: str) -> bool:
        self.next_timer, self.changes.timers = None, True
        return self.count("delete_schedule", name) > 0

    # -- workers

    def put_worker(self, worker: WorkerInfo) -> None:
        self.run("put_worker", worker.id, worker.seen_at, dump(worker))

    def workers(self, since: Millis) -> list[WorkerInfo]:
        text = self.value("workers", since)
        return _workers.decode(text) if text else []

    def drop_workers(self, before: Millis) -> None:
        self.run("delete_workers", before)

    # -- feed

    def last_cursor(self) -> int:
        return self._cursor or self.stands.cursor

    def events(
        self,
        after: int,
        *,
        task_id: str | None,
        root: str | None,
        owner: str | None,
        kinds: Sequence[EventKind],
        limit: int,
    ) -> tuple[list[Event], int]:
        self.write_tasks()
        self.write_events()
        chosen = dump([kind.value for kind in kinds]) if kinds else None
        if task_id is not None:
            text = self.value("events_of_task", after, owner, chosen, limit, task_id)
        elif root is not None:
            text = self.value("events_of_tree", after, owner, chosen, limit, root)
        else:
            text = self.value("events", after, owner, chosen, limit)
        found = _events.decode(text) if text else []
        if task_id is not None and root is not None and found and self.tasks([task_id])[task_id].root != root:
            found = []
        if len(found) == limit:
            return found, int(found[-1].cursor)
        return found, max(after, self.last_cursor())

    # -- purge

    def ended_roots(self, before: Mapping[State, Millis], limit: int) -> list[str]:
        self.write_tasks()
        found: list[tuple[int, int, str]] = []
        for state, instant in before.items():
            for code in codes([state]):
                found += _ended.decode(self.value("ended_roots", code, instant, limit))
        return [task_id for _, _, task_id in sorted(found)[:limit]]

    def purge_tree(self, root: str) -> None:
        self._purged.append(root)

    def write_purges(self) -> None:
        """Removes the trees that were purged, all of them together; called when a verb is done."""
        if not self._purged:
            return
        gone, self._purged = self._purged, []
        roots = dump(gone)
        self.changes.upset = True
        self.write_tasks()
        self.write_events()
        self.write_steps()
        members = _members.decode(self.value("tree", roots))
        self.statements.raise_floor(Header(self._number or self.stands.number, self.last_cursor(), self.now))
        numbers = dump([number for number, _ in members])
        for what in _PURGED:
            self.run(f"purge_{what}", numbers)
        self.run("purge_links", roots)
        self.run("purge_blobs", roots)
        self.purge_books(numbers, [f"tree:{root}" for root in gone] + [f"task:{task_id}" for _, task_id in members])
        for number, task_id in members:
            self.dues.put(number, None)
            self.rows.pop(task_id, None)
            self.numbers.pop(number, None)

    def write(self) -> None:
        """Writes all that is still to be written."""
        self.write_purges()
        self.write_tasks()
        self.write_events()
        self.keep_lanes()
        self.write_usages()
        self.write_keys()
        self.write_steps()
