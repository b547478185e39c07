"""Inboxes and journals: what lies with a task until it is consumed, or for good."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from tenuto.stores.rows.layout import dump
from tenuto.stores.rows.relations import RelationRows
from tenuto.stores.rows.session import Clock, Statements
from tenuto.tasks.outcome import Step, StepState
from tenuto.tasks.signal import Message

__all__ = ["InboxRows"]

_messages = msgspec.json.Decoder(list[Message])
_found = msgspec.json.Decoder(list[tuple[int, list[msgspec.Raw], Step]])


class InboxRows(RelationRows):
    """Messages and steps."""

    def __init__(self, statements: Statements, clock: Clock) -> None:
        super().__init__(statements, clock)
        self._steps: dict[tuple[int, str], Step | None] = {}
        self._new_steps: dict[tuple[int, str], Step] = {}
        self._started: dict[tuple[int, str], Step] = {}
        """steps that have begun and not ended: remembered, as long as nobody else writes, for when they do"""
        self._sizes: dict[int, int] = {}
        """messages in inboxes"""
        self._last: dict[int, int] = {}
        """the numbers of the latest messages"""

    # -- inboxes

    def inbox(self, task_id: str) -> list[Message]:
        row = self.rows.get(task_id) or self.row(task_id)
        if row is None or not row.mail:
            return []
        text = self.value("inbox", row.number)
        return _messages.decode(text) if text else []

    def inbox_size(self, task_id: str) -> int:
        row = self.row(task_id)
        if row is None or not row.mail:
            return 0
        if row.number not in self._sizes:
            self._sizes[row.number] = self.value("inbox_size", row.number)
        return self._sizes[row.number]

    def steered(self, task_id: str, after: int) -> bool:
        row = self.row(task_id)
        return row is not None and row.mail and bool(self.value("steered", row.number, after))

    def has_message_key(self, task_id: str, key: str) -> bool:
        return bool(self.value("message_key", self.number_of(task_id), key))

    def next_message(self, task_id: str) -> int:
        number = self.number_of(task_id)
        if number not in self._last:
            self._last[number] = self.value("last_message", number)
        return self._last[number] + 1

    def add_message(self, task_id: str, message: Message, key: str | None) -> None:
        row = self.row(task_id)
        if row is None:
            raise KeyError(task_id)
        self._sizes[row.number] = self.inbox_size(task_id) + 1
        self._last[row.number] = message.number
        row.mail = True
        kind, topic = message.kind.value, message.topic
        self.run("insert_message", row.number, message.number, kind, topic, dump(message.data), message.at, key)

    def consume(self, task_id: str, numbers: Iterable[int]) -> None:
        row = self.row(task_id)
        taken = list(numbers)
        if row is not None and row.mail and taken:
            self.run("take_messages", row.number, dump(taken))
            self._sizes.pop(row.number, None)
            row.mail = self.inbox_size(task_id) > 0

    # -- journals

    def load_steps(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Has these steps, named by task and key, at hand."""
        missing: list[tuple[int, str]] = []
        for task_id, key in wanted:
            row = self.row(task_id)
            if row is None or (row.keys is not None and key not in row.keys):
                continue
            name = (row.number, key)
            if name in self._started:
                self._steps.setdefault(name, self._started[name])
            elif name not in self._steps:
                missing.append(name)
        if missing:
            self._steps.update(dict.fromkeys(missing))
            text = self.value("steps_by_key", dump(missing))
            for number, step in _read(text):
                self._steps[number, step.key] = step

    def steps(self, task_id: str) -> list[Step]:
        self.write_steps()
        return [step for _, step in _read(self.value("steps", self.number_of(task_id)))]

    def step(self, task_id: str, key: str) -> Step | None:
        name = (self.number_of(task_id), key)
        if name not in self._steps:
            self.load_steps([(task_id, key)])
        return self._steps.get(name)

    def put_step(self, task_id: str, step: Step) -> None:
        row = self.row(task_id)
        if row is None:
            raise KeyError(task_id)
        name = (row.number, step.key)
        self._steps[name] = self._new_steps[name] = step
        if step.state is StepState.STARTED:
            self._started[name] = step
        else:
            self._started.pop(name, None)
        if row.keys is not None:
            row.keys.add(step.key)

    def drop_step(self, task_id: str, key: str) -> None:
        self.write_steps()
        number = self.number_of(task_id)
        self._steps[number, key] = None
        self._started.pop((number, key), None)
        self.run("delete_step", number, key)

    def drop_steps(self, task_id: str) -> None:
        self.write_steps()
        self._steps.clear()
        self._started.clear()
        row = self.row(task_id)
        if row is not None:
            row.keys = set()
            self.run("delete_steps", row.number)

    def write_steps(self) -> None:
        """Writes steps, so that queries see them."""
        if self._new_steps:
            steps, self._new_steps = self._new_steps, {}
            rows = [
                (number, key, place, *_written(step)) for place, ((number, key), step) in enumerate(steps.items(), 1)
            ]
            self.run_rows("put_steps", rows)


def _read(text: str | None) -> list[tuple[int, Step]]:
    found = _found.decode(text) if text else []
    return [(number, replace(step, value=value[0]) if value else step) for number, value, step in found]


def _written(step: Step) -> tuple[str | None, str]:
    """A step's value, and the rest of it."""
    if step.value is None:
        return None, dump(step)
    return bytes(step.value).decode(), dump(replace(step, value=None))
