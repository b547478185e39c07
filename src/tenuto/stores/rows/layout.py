"""How a task lies in the file: what never changes apart from what transitions change, both as JSON; and its result.

Both texts are members of a JSON object without its braces, so that the task is `{fixed,live}`: put together by the
query, and decoded in one go. The numbers that queries look for are columns of their own; they follow from the task
here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import msgspec

from tenuto.tasks.states import State
from tenuto.tasks.task import Kind, Task

__all__ = [
    "SEPARATOR",
    "Row",
    "codes",
    "columns",
    "dump",
    "fixed_text",
    "is_goal",
    "live_text",
    "parked_range",
    "state_of",
]

SEPARATOR = "\x1f"
"""Between the parts of a compound key; no name contains it."""

_FIXED = frozenset(
    {
        *("id", "agent", "owner", "payload", "title", "band", "attempt_timeout", "timeout", "retry"),
        *("idempotency_key", "unique", "limits", "tags", "metadata", "budget", "kind", "root", "parent", "node"),
        "created_at",
    }
)
_APART = frozenset({"result"})
_HELD_BACK = 1
_CODES = {
    State.READY: 0,
    State.BLOCKED: 2,
    State.SCHEDULED: 3,
    State.WAITING: 4,
    State.RUNNING: 5,
    State.DONE: 6,
    State.FAILED: 7,
    State.CANCELLED: 8,
}
_STATES = {code: state for state, code in _CODES.items()} | {_HELD_BACK: State.READY}

_encoder = msgspec.json.Encoder()


def _part(name: str, fixed: bool) -> Any:
    fields: list[Any] = []
    for field in msgspec.structs.fields(Task):
        if (field.name in _FIXED) is not fixed or field.name in _APART:
            continue
        if field.default_factory is not msgspec.NODEFAULT:
            fields.append((field.name, field.type, msgspec.field(default_factory=field.default_factory)))
        elif field.default is not msgspec.NODEFAULT:
            fields.append((field.name, field.type, field.default))
        else:
            fields.append((field.name, field.type))
    fields.sort(key=len)  # the required ones first
    return msgspec.defstruct(name, fields, omit_defaults=True, gc=False)


_Fixed, _Live = _part("_Fixed", True), _part("_Live", False)
_fixed_values = attrgetter(*_Fixed.__struct_fields__)
_live_values = attrgetter(*_Live.__struct_fields__)


class Row(msgspec.Struct, array_like=True, gc=False):
    """A task in the cache, with what is known about its surroundings; queries give the first fields as JSON."""

    number: int
    root: int | None
    """the number of its root, None when it is one"""
    mail: bool
    """whether there are messages in its inbox"""
    awaited: bool
    """whether anyone waits for its end"""
    waits: bool
    """whether it waits for topics"""
    task: Task
    keys: set[str] | None = None
    """the keys of all of its recorded steps; None when they are not known"""
    new: bool = False
    """not in the file yet"""
    written: bool = True
    """whether the file holds `task` as it is here"""
    calls: set[str] | None = None
    """the calls of its present attempt that are in its ledger; None when they are not known"""


def dump(value: Any) -> str:
    """`value` as JSON text."""
    return _encoder.encode(value).decode()


def fixed_text(task: Task) -> str:
    """What never changes."""
    return _encoder.encode(_Fixed(*_fixed_values(task)))[1:-1].decode()


def live_text(task: Task) -> str:
    """What transitions change."""
    return _encoder.encode(_Live(*_live_values(task)))[1:-1].decode()


def _parked(task: Task) -> str | None:
    if task.paused or task.state is not State.READY:
        return None
    return f"{task.gate}{SEPARATOR}{task.agent}"


def columns(task: Task) -> tuple[int, int, int | None, str | None, int | None, str | None]:
    """What transitions change and has a column: state, rank, due, parked, finished, result."""
    code = _CODES[task.state]
    if code == 0 and (task.paused or task.gate):
        code = _HELD_BACK
    parked = _parked(task) if task.gate else None
    result = None if task.result is None else str(task.result, "utf-8")
    return code, -task.priority, task.due, parked, task.finished_at, result


def is_goal(task: Task) -> int:
    """1 for a goal, 0 for a task."""
    return int(task.kind is Kind.GOAL)


def parked_range(key: str) -> tuple[str, str]:
    """Between which values of the column `parked` the tasks behind `key` are."""
    return f"{key}{SEPARATOR}", f"{key}{chr(ord(SEPARATOR) + 1)}"


def codes(states: Iterable[State]) -> list[int]:
    """The values of the column `state` that stand for `states`."""
    found = [_CODES[state] for state in states]
    return [*found, _HELD_BACK] if 0 in found else found


def state_of(code: int) -> State:
    """The state for which a value of the column `state` stands."""
    return _STATES[code]
