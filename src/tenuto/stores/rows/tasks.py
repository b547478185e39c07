"""Rows of tasks: read in bulk, kept while the transaction lasts, written in bulk when a query could see them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tenuto.stores.base import AgentLoad, TaskFilter
from tenuto.stores.rows.dues import Dues
from tenuto.stores.rows.lanes import LaneRows
from tenuto.stores.rows.layout import Row, codes, columns, dump, fixed_text, is_goal, live_text, state_of
from tenuto.stores.rows.session import Clock, NewTask, Statements
from tenuto.tasks.event import Event
from tenuto.tasks.fairness import Head
from tenuto.tasks.states import FINAL, State
from tenuto.tasks.task import Task

__all__ = ["TaskRows"]

_FAR = 2**62
_PAGE = 256
_CHUNK = 32
"""Tasks of one lane that are read together."""

_rows = msgspec.json.Decoder(list[tuple[Row, list[msgspec.Raw]]])
_numbers = msgspec.json.Decoder(list[int])
_counts = msgspec.json.Decoder(list[tuple[int, int]])
_loads = msgspec.json.Decoder(list[tuple[str, int, int]])
_parked = msgspec.json.Decoder(list[tuple[str, int]])


class TaskRows(LaneRows):
    """Tasks, their events on the way to the feed, and large values."""

    def __init__(self, statements: Statements, clock: Clock) -> None:
        super().__init__(statements, clock)
        self.rows: dict[str, Row] = {}
        self.numbers: dict[int, str] = {}
        """ids by number of what is in `rows`"""
        self._final: list[Row] = []
        """rows that nobody will ask for soon"""
        self._absent: set[str] = set()
        self._changed: dict[str, Row] = {}
        self._ready_changed = False
        self._new_changed = False
        self._events: list[tuple[Any, ...]] = []
        self._number = 0
        self._cursor = 0
        self._most_kept_back = statements.most_kept_back
        self.dues = Dues()
        self.planned: list[int] = []
        """numbers of tasks that a claim is about to ask for"""

    # -- reading

    def task(self, task_id: str) -> Task | None:
        row = self.row(task_id)
        return None if row is None else row.task

    def tasks(self, task_ids: Iterable[str]) -> dict[str, Task]:
        wanted = list(task_ids)
        self.load(wanted)
        return {task_id: self.rows[task_id].task for task_id in wanted if task_id in self.rows}

    def numbered(self, number: int) -> Task:
        if number not in self.numbers:
            planned, self.planned = self.planned, []
            self.load_numbers([number, *planned])
            if not planned:
                self.planned = self._next_in_lane(number)
        return self.rows[self.numbers[number]].task

    def _next_in_lane(self, number: int) -> list[int]:
        """A claim goes deeper into a lane than was planned."""
        task = self.rows[self.numbers[number]].task
        heads = self.lane(task.agent, task.band, task.owner).heads
        at = bisect_right(heads, Head(-task.priority, number))
        return [head.number for head in heads[at : at + _CHUNK]]

    def row(self, task_id: str) -> Row | None:
        """The row of a task, read when it is not at hand."""
        row = self.rows.get(task_id)
        if row is None and task_id not in self._absent:
            self.load([task_id])
            row = self.rows.get(task_id)
        return row

    def number_of(self, task_id: str) -> int:
        """The number of a task, 0 when there is none."""
        row = self.row(task_id)
        return 0 if row is None else row.number

    def load(self, task_ids: Iterable[str]) -> None:
        """Has these tasks at hand, and knows of the others that they are not there."""
        missing = self.unknown(task_ids)
        if missing:
            self.learn(missing, self.value("tasks_by_id", dump(missing)))

    def unknown(self, task_ids: Iterable[str]) -> list[str]:
        """Those of which it is not known here how they stand, or that they do not exist."""
        wanted = [each for each in dict.fromkeys(task_ids) if each not in self.rows and each not in self._absent]
        impossible = [each for each in wanted if "\0" in each]  # not every engine could even look for them
        self._absent.update(impossible)
        return [each for each in wanted if each not in self._absent] if impossible else wanted

    def count_absent(self, task_ids: Iterable[str]) -> None:
        """Counts on these not being there: the engine finds out."""
        self._absent.update(task_ids)

    def learn(self, task_ids: Iterable[str], text: str | None) -> None:
        """Takes what the query `tasks_by_id` has given for `task_ids`."""
        self._take(text)
        self._absent.update(task_id for task_id in task_ids if task_id not in self.rows)

    def learn_ahead(self, text: str | None) -> None:
        """Takes tasks that claims will ask for. What is known stays: it may have been changed since they were read."""
        self._take(text, stays=True)

    def load_numbers(self, numbers: Iterable[int]) -> None:
        """Has these tasks at hand."""
        missing = [number for number in dict.fromkeys(numbers) if number not in self.numbers]
        if missing:
            self._take(self.value("tasks_by_number", dump(missing)))

    def _take(self, text: str | None, stays: bool = False) -> None:
        rows, numbers = self.rows, self.numbers
        for row, result in _rows.decode(text) if text else ():
            task = row.task
            if stays and task.id in rows:
                continue
            if result:
                row.task = msgspec.structs.replace(task, result=result[0])
            if not task.steps:
                row.keys = set()
            rows[task.id] = row
            numbers[row.number] = task.id
            if task.state in FINAL:
                self._final.append(row)

    def listed(self, numbers: Sequence[int]) -> list[Task]:
        """The tasks with these numbers, in this order."""
        self.load_numbers(numbers)
        return [self.rows[self.numbers[number]].task for number in numbers]

    def children(self, parent: str) -> list[Task]:
        return self._children("children", parent)

    def active_children(self, parent: str) -> list[Task]:
        return self._children("active_children", parent)

    def active_descendants(self, task_id: str) -> list[Task]:
        return self._children("active_descendants", task_id)

    def _children(self, name: str, parent: str) -> list[Task]:
        self.write_tasks()
        number = self.number_of(parent)
        return self.listed(sorted(_numbers.decode(self.value(name, number)))) if number else []

    # -- writing

    def insert(self, task: Task) -> None:
        self._number = number = (self._number or self.stands.number) + 1
        root = None if task.root == task.id else self.number_of(task.root)
        row = Row(number, root, False, False, False, task, set(), True, False)
        self._absent.discard(task.id)
        self.rows[task.id] = row
        self.numbers[number] = task.id
        self._changed[task.id] = row
        self._ready_changed = self._new_changed = True
        self.changes.tasks[number] = due = task.due
        self.dues.put(number, due)
        self.head_moved(None, task, number)
        if len(self._changed) >= self._most_kept_back:
            self._hand_over()

    def update(self, task: Task, event: Event | None = None) -> None:
        row = self.rows.get(task.id) or self.row(task.id)
        if row is None:
            raise KeyError(task.id)
        known = row.task
        if known.state is State.READY or task.state is State.READY:
            self._ready_changed = True
            self.head_moved(known, task, row.number)
        if task.state in FINAL:
            self._final.append(row)
        if task.attempt != known.attempt:  # it never falls: this one has made no call yet
            row.calls = set()
        row.task = task
        row.written = False
        self._changed[task.id] = row
        self.changes.tasks[row.number] = due = task.due
        self.dues.put(row.number, due)
        if event is not None:
            self._tell(row, event)
        if len(self._changed) >= self._most_kept_back:
            self._hand_over()

    def add_event(self, event: Event) -> None:
        row = self.rows.get(event.task_id) or self.row(event.task_id)
        if row is None:
            raise KeyError(event.task_id)
        self._tell(row, event)

    def _tell(self, row: Row, event: Event) -> None:
        last = self._cursor
        self._cursor = last + 1 if last else self.statements.first_cursor(self.stands.cursor, self.now)
        data = dump(event.data) if event.data else None
        self._events.append((self._cursor, row.number, row.root, event.seq, event.kind, event.at, event.attempt, data))

    def _hand_over(self) -> None:
        """Writes what was changed so far."""
        self.write_tasks()
        self.write_events()

    def write_ready(self) -> None:
        """Writes tasks when that changes which ones can be claimed."""
        if self._ready_changed:
            self.write_tasks()

    def write_new(self) -> None:
        """Writes tasks when some of them are new, so that queries find their numbers."""
        if self._new_changed:
            self.write_tasks()

    def write_tasks(self) -> None:
        """Writes what was changed, so that queries see it."""
        if not self._changed:
            return
        changed, self._changed, self._ready_changed, self._new_changed = self._changed, {}, False, False
        new = [row for row in changed.values() if row.new]
        if new:
            self._write_new(new)
        updates = [row for row in changed.values() if not row.written]
        self.run_rows("update_tasks", [(row.number, *columns(row.task), live_text(row.task)) for row in updates])
        for row in updates:
            row.written = True

    def _write_new(self, rows: Sequence[Row]) -> None:
        tasks: list[NewTask] = []
        tags: list[tuple[Any, ...]] = []
        for row in rows:
            task, number = row.task, row.number
            state, rank, due, parked, finished, result = columns(task)
            parent = self.number_of(task.parent) if task.parent is not None else None
            unique = task.unique.key if task.unique is not None else None
            lane = self.lane(task.agent, task.band, task.owner).number
            about = (number, task.id, lane, state, rank, due, is_goal(task), row.root, parent, parked, unique)
            tasks.append(NewTask(*about, finished, result, live_text(task), fixed_text(task)))
            tags += [(tag, number) for tag in task.tags]
            row.new, row.written = False, True
        self.statements.insert_tasks(tasks)
        self.run_rows("insert_tags", tags)

    def write_events(self) -> None:
        """Writes events, so that queries see them."""
        if self._events:
            events, self._events = self._events, []
            self.run_rows("insert_events", events)

    # -- lists and counts

    def find(self, where: TaskFilter, before: int | None, limit: int) -> list[tuple[int, Task]]:
        self.write_tasks()
        name, arguments = _plan(where)
        found: list[tuple[int, Task]] = []
        before = _FAR if before is None else before
        page = max(limit, _PAGE) if name != "newest" or where != TaskFilter() else limit
        while len(found) < limit:
            numbers = _numbers.decode(self.value(name, before, page, *arguments))
            tasks = zip(numbers, self.listed(numbers), strict=True)
            found += [(number, task) for number, task in tasks if where.matches(task)]
            if len(numbers) < page:
                break
            before = numbers[-1]
        return found[:limit]

    def count_states(self) -> dict[State, int]:
        self.write_tasks()
        counts = dict.fromkeys(State, 0)
        for code, count in _counts.decode(self.value("count_states")):
            counts[state_of(code)] += count
        return counts

    def loads(self) -> list[AgentLoad]:
        self.write_tasks()
        ready: dict[str, int] = dict(_parked.decode(self.value("parked_unpaused")))
        running: dict[str, int] = {}
        other: dict[str, int] = {agent: -count for agent, count in ready.items()}
        for agent, code, count in _loads.decode(self.value("loads")):
            state = state_of(code)
            which = running if state is State.RUNNING else ready if code == 0 else other
            which[agent] = which.get(agent, 0) + count
        agents = sorted({*ready, *running, *other} - {""})
        return [
            AgentLoad(agent, ready.get(agent, 0), running.get(agent, 0), other.get(agent, 0), 0) for agent in agents
        ]

    # -- large values

    def blobs(self, root: str, keys: Sequence[str], room: int) -> dict[str, bytes]:
        answer = self.value("blobs", root, msgspec.json.encode(keys).decode(), room)
        if answer is None:
            return {}
        named, _, data = bytes(answer).partition(b"\n")
        found: dict[str, bytes] = {}
        begin = 0
        for key, size in msgspec.json.decode(named):
            found[key] = data[begin : begin + size]
            begin += size
        return found

    def put_blob(self, root: str, key: str, data: bytes) -> None:
        self.run("insert_blob", root, key, data)


def _plan(where: TaskFilter) -> tuple[str, tuple[Any, ...]]:
    """The query that leaves the fewest to look at, and its arguments after `before` and the size of a page."""
    if where.tag is not None:
        return "newest_of_tag", (where.tag,)
    if where.parent is not None:
        return "newest_of_parent", (where.parent,)
    if where.root is not None:
        return "newest_of_tree", (where.root,)
    if where.states and not FINAL.intersection(where.states):
        return "newest_active", (dump(codes(where.states)),)
    if where.states and State.DONE not in where.states and FINAL.issuperset(where.states):
        return "newest_ended", (dump(codes(where.states)),)
    if where.agent is not None or where.owner is not None:
        return "newest_of_lanes", (where.agent, where.owner)
    return "newest", ()
