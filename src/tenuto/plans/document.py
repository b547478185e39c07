"""Plans: goals as JSON, for `tenuto run --dag plan.json`. Times are in seconds, instants in ISO 8601 or Unix seconds.

    {"title": "Review the repository",
     "tasks": [{"id": "scan", "agent": "scanner", "payload": {"path": "."}},
               {"id": "report", "agent": "writer", "after": ["scan"]}]}

`after` holds ids, or `{"id": "scan", "when": "failed"}` where the source has to end otherwise than well: `done`
(the default), `failed` or `finished`. The structs below are the whole contract; unknown fields are refused.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from tenuto.errors import InvalidInput, NotFound, TooLarge, Unstorable
from tenuto.plans.builder import GoalBuilder, goal
from tenuto.tasks.clock import Millis, duration, instant, wall_clock
from tenuto.tasks.goal import When
from tenuto.tasks.ids import check_id
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.task import TaskSpec
from tenuto.tasks.values import encode

__all__ = ["LARGEST_PLAN", "read_plan"]

LARGEST_PLAN = 64 * 1024 * 1024
"""Bytes in a plan file."""

_BYTE_ORDER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class _Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    when: When = When.DONE


class _Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`RetryPolicy`, in seconds."""

    max_retries: int = 5
    base: float = 1.0
    factor: float = 2.0
    longest: float = 300.0
    jitter: float = 0.5
    fatal: tuple[str, ...] = ()
    excused: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def policy(self) -> RetryPolicy:
        fields = msgspec.structs.asdict(self)
        fields |= {"base": duration(self.base, "retry.base"), "longest": duration(self.longest, "retry.longest")}
        return RetryPolicy(**fields).check()


class _Common(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    title: str = ""
    owner_id: str = ""
    priority: int = 0
    deadline: float | datetime | None = None
    timeout: float | None = None
    idempotency_key: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}


class _Task(_Common, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: str
    agent: str
    payload: Any = None
    after: tuple[str | _Source, ...] = ()
    delay: float | None = None
    run_at: float | datetime | None = None
    attempt_timeout: float | None = None
    max_retries: int | None = None
    retry: _Retry | None = None
    limits: tuple[str, ...] = ()

    def spec(self) -> TaskSpec:
        if self.delay is not None and self.run_at is not None:
            raise InvalidInput("delay and run_at exclude each other")
        if self.retry is not None and self.max_retries is not None:
            raise InvalidInput("max_retries and retry exclude each other: put max_retries into retry")
        retry = self.retry or (None if self.max_retries is None else _Retry(self.max_retries))
        run_at = None if self.run_at is None else instant(self.run_at, "run_at")
        spec = TaskSpec(
            id=check_id(self.id),
            agent=self.agent,
            owner=self.owner_id,
            payload=msgspec.Raw(encode(self.payload, "the payload")),
            title=self.title,
            priority=self.priority,
            run_at=run_at if self.delay is None else wall_clock() + duration(self.delay, "delay"),
            deadline=None if self.deadline is None else instant(self.deadline, "deadline"),
            timeout=_span(self.timeout, "timeout"),
            attempt_timeout=_span(self.attempt_timeout, "attempt_timeout"),
            retry=None if retry is None else retry.policy(),
            idempotency_key=self.idempotency_key,
            limits=self.limits,
            tags=self.tags,
            metadata=self.metadata,
        )
        if not spec.agent:
            raise InvalidInput("agent is empty: say who shall run it")
        spec.check()
        return spec


class _Plan(_Common, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: str | None = None
    tasks: tuple[_Task, ...]


def _span(seconds: float | None, field: str) -> Millis | None:
    return None if seconds is None else duration(seconds, field)


def read_plan(plan: str | os.PathLike[str] | Mapping[str, Any]) -> GoalBuilder:
    """The goal that `plan` describes: the path of a JSON file, or its content as a dict.

    Raises `NotFound` when there is no such file, and `InvalidInput` with one sentence that names the file, the
    place and the field for anything that is wrong with it: not JSON, an unknown or missing field, a value of the
    wrong type, two tasks with one id, an edge from a task that is not there, a cycle.
    """
    if isinstance(plan, Mapping):
        name, parsed = "plan", _convert("plan", plan)
    else:
        name = f"plan {os.fspath(plan)}"
        parsed = _parse(name, _content(name, Path(plan)))
    if not parsed.tasks:
        raise InvalidInput(f"{name}: tasks is empty: a plan needs at least one")
    return _build(name, parsed)


def _content(name: str, path: Path) -> bytes:
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= LARGEST_PLAN else b""
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{name}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if size > LARGEST_PLAN:
        raise TooLarge(f"{name} is {size:,} bytes, more than the limit of {LARGEST_PLAN:,}")
    return data


def _parse(name: str, data: bytes) -> _Plan:
    try:
        return msgspec.json.decode(data, type=_Plan)
    except msgspec.ValidationError as error:
        raise InvalidInput(_place(name, error)) from None
    except msgspec.DecodeError as error:
        if data.startswith(_BYTE_ORDER_MARKS):
            raise InvalidInput(f"{name} begins with a byte order mark: save it as UTF-8 without one") from None
        raise InvalidInput(f"{name} is not JSON: {_line(str(error), data)}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else "it is not UTF-8 text"
        raise InvalidInput(f"{name} is not a plan: {why}") from None


def _convert(name: str, content: Mapping[str, Any]) -> _Plan:
    try:
        return msgspec.convert(dict(content), _Plan)
    except msgspec.ValidationError as error:
        raise InvalidInput(_place(name, error)) from None


def _place(name: str, error: msgspec.ValidationError) -> str:
    what, _, where = str(error).partition(" - at `$")
    where = where.rstrip("`").lstrip(".")
    return f"{name}, {where}: {what}" if where else f"{name}: {what}"


def _line(message: str, data: bytes) -> str:
    what, found, byte = message.removeprefix("JSON is malformed: ").partition(" (byte ")
    if not found:
        return what
    before = data[: int(byte.rstrip(")"))]
    return f"{what}, in line {before.count(10) + 1}, column {len(before) - before.rfind(10)}"


@contextmanager
def _at(place: str) -> Iterator[None]:
    try:
        yield
    except (InvalidInput, Unstorable) as error:
        raise type(error)(f"{place}: {error}") from None


def _build(name: str, plan: _Plan) -> GoalBuilder:
    with _at(name):
        builder = goal(
            plan.title,
            id=plan.id,
            owner_id=plan.owner_id,
            priority=plan.priority,
            deadline=plan.deadline,
            timeout=plan.timeout,
            idempotency_key=plan.idempotency_key,
            tags=plan.tags,
            metadata=plan.metadata,
        )
    places: dict[str, int] = {}
    for number, task in enumerate(plan.tasks):
        first = places.setdefault(task.id, number)
        if first != number:
            raise InvalidInput(f"{name}, tasks[{number}].id: {task.id!r} is also the id of tasks[{first}]")
    for number, task in enumerate(plan.tasks):
        with _at(f"{name}, tasks[{number}]"):
            node = builder.add(task.spec())
        for position, after in enumerate(task.after):
            source = after if isinstance(after, _Source) else _Source(after)
            if source.id not in places:
                raise InvalidInput(f"{name}, tasks[{number}].after[{position}]: there is no task {source.id!r}")
            builder.connect(source.id, node, source.when)
    with _at(name):
        builder.tree()
    return builder
