"""Tasks and what belongs to them, as the scripts and `redis-cli` see them, and back.

A task is the hash `task:<id>`. Texts and whole numbers are themselves; what has parts is JSON. A field that is missing
or empty has its default. Some have the names of the instructions page: `status` (the state), `goal` (of a node: its
goal, in place of `parent`), `lease_expires`, `artifacts` (the result) and `last_error`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from tenuto.errors import InvalidInput
from tenuto.stores.answers import WorkerInfo
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.goal import Edge, When
from tenuto.tasks.lease import Lease
from tenuto.tasks.limits import Limit
from tenuto.tasks.money import Budget
from tenuto.tasks.outcome import Step, StepState
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.schedules import Schedule
from tenuto.tasks.signal import Message, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import NULL, ErrorRecord, Kind, Progress, Task, TaskSpec, Unique
from tenuto.tasks.waits import Wait

__all__ = [
    "dump",
    "edges_of",
    "event_of",
    "fields_of",
    "lease_of",
    "limit_of",
    "limit_parts",
    "message_of",
    "no_text",
    "pack",
    "schedule_of",
    "steps_of",
    "task_of",
    "text",
    "worker_of",
]

_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode

_retry = msgspec.json.Decoder(RetryPolicy)
_edges = msgspec.json.Decoder(list[tuple[str, str, When]])
_schedule = msgspec.json.Decoder(Schedule)
_worker = msgspec.json.Decoder(WorkerInfo)
_error = msgspec.json.Decoder(ErrorRecord)
_any = msgspec.json.Decoder()


class _Head(msgspec.Struct):
    """The first line of a stored message."""

    kind: SignalKind
    topic: str
    at: int


class _Place(msgspec.Struct):
    """The first line of a stored step."""

    n: int
    at: int
    attempt: int
    position: int
    state: StepState


class _Happening(msgspec.Struct):
    """What the stream tells of an event, beside its task and its cursor."""

    seq: int
    kind: EventKind
    at: int
    attempt: int
    owner: str
    data: dict[str, Any]


_head = msgspec.json.Decoder(_Head)
_place = msgspec.json.Decoder(_Place)
_happening = msgspec.json.Decoder(_Happening)

_TEXTS = ("agent", "owner", "title", "idempotency_key")
_NUMBERS = ("priority", "band", "run_at", "deadline", "attempt_timeout", "timeout")
_PARTS = ("retry", "unique", "limits", "tags", "metadata", "budget")


# -- to the server -----------------------------------------------------------------------------------------


def dump(value: Any) -> str:
    """`value` as JSON."""
    return _encode(value).decode()


def pack(given: Any) -> bytes:
    """`given` as msgpack, for a script. Raises `InvalidInput` for what is no text."""
    try:
        return _pack(given)
    except UnicodeEncodeError as error:
        raise no_text(error) from None


def no_text(error: UnicodeEncodeError) -> InvalidInput:
    """What is said of text that no server could store."""
    return InvalidInput(f"{error.object[:80]!r} is no text: it holds half of a surrogate pair")


def text(data: bytes) -> Raw:
    """`data` as msgpack text, whatever it holds: the scripts know no other bytes."""
    size = len(data)
    if size < 32:
        return Raw(bytes((0xA0 | size,)) + data)
    if size < 256:
        return Raw(b"\xd9%c" % size + data)
    code, width = (b"\xda", 2) if size < 65_536 else (b"\xdb", 4)
    return Raw(code + size.to_bytes(width, "big") + data)


def fields_of(spec: TaskSpec) -> list[Any]:
    """Fields and values in turns."""
    flat: list[Any] = []
    for name in _TEXTS:
        word = getattr(spec, name)
        if word:
            flat += (name, word)
    if spec.payload != NULL:
        flat += ("payload", text(bytes(spec.payload)))
    for name in _NUMBERS:
        number = getattr(spec, name)
        if number is not None and (number or name not in ("priority", "band")):
            flat += (name, number)
    for name in _PARTS:
        part = getattr(spec, name)
        if part:
            flat += (name, dump(part))
    return flat


def limit_parts(limit: Limit) -> tuple[Any, ...]:
    """A limit as `submission.define` takes it."""
    return limit.key, limit.concurrency or False, limit.rate or False, limit.period, limit.burst


# -- from the server ---------------------------------------------------------------------------------------


def task_of(task_id: str, flat: Sequence[bytes]) -> Task | None:
    """The task of a hash, given as fields and values in turns; None where there is nothing."""
    if not flat:
        return None
    given = {flat[at]: flat[at + 1] for at in range(0, len(flat), 2) if flat[at + 1]}

    def word(name: bytes) -> str:
        return given.get(name, b"").decode()

    def number(name: bytes, default: int = 0) -> int:
        value = given.get(name)
        return default if value is None else int(value)

    def instant(name: bytes) -> int | None:
        value = given.get(name)
        return None if value is None else int(value)

    def part(name: bytes, type: Any, default: Any = None) -> Any:
        value = given.get(name)
        return default if value is None else msgspec.json.decode(value, type=type)

    result = given.get(b"artifacts")
    _, seq, nonce, *_ = given[b"trail"].split(b" ", 3)
    instants = map(given.get, (b"created_at", b"started_at", b"finished_at", b"since"))
    return Task(
        id=task_id,
        agent=word(b"agent"),
        owner=word(b"owner"),
        payload=Raw(given[b"payload"]) if b"payload" in given else NULL,
        title=word(b"title"),
        priority=number(b"priority"),
        band=number(b"band"),
        run_at=instant(b"run_at"),
        deadline=instant(b"deadline"),
        attempt_timeout=instant(b"attempt_timeout"),
        timeout=instant(b"timeout"),
        retry=part(b"retry", RetryPolicy),
        idempotency_key=word(b"idempotency_key") or None,
        unique=part(b"unique", Unique),
        limits=part(b"limits", tuple[str, ...], ()),
        tags=part(b"tags", tuple[str, ...], ()),
        metadata=part(b"metadata", dict[str, Any], {}),
        budget=part(b"budget", Budget),
        kind=Kind(word(b"kind") or "task"),
        root=word(b"root") or task_id,
        parent=word(b"goal") or word(b"parent") or None,
        node=word(b"node") or None,
        state=State(word(b"status")),
        paused=b"paused" in given,
        reason=word(b"reason"),
        run=number(b"run", 1),
        epoch=number(b"epoch"),
        attempt=number(b"attempt"),
        failures=number(b"failures"),
        losses=number(b"losses"),
        unmet=number(b"unmet"),
        nonce=int(nonce),
        worker=word(b"worker"),
        lease_until=instant(b"lease_expires"),
        created_at=number(b"created_at"),
        since=max(int(each) for each in instants if each),
        started_at=instant(b"started_at"),
        finished_at=instant(b"finished_at"),
        expires_at=instant(b"expires_at"),
        wait=part(b"wait", Wait),
        gate=word(b"gate"),
        progress=part(b"progress", Progress),
        result=None if result is None else Raw(result),
        error=part(b"last_error", ErrorRecord),
        seq=int(seq),
        steps=number(b"steps"),
        open_calls=len(word(b"calls").split("\n")) if b"calls" in given else 0,
    )


def lease_of(parts: Sequence[Any]) -> Lease:
    """A claimed task, as `holds.lease` gives it."""
    task_id, attempt, nonce, expires, agent, payload, owner, *more = parts
    if not more:
        return Lease(
            task_id, attempt, nonce, expires, task_id, agent, Raw(payload.encode()) if payload else NULL, owner
        )
    root, parent, node, run, epoch, failures, losses, steps, attempt_timeout, time_left, retry, metadata, messages = (
        more
    )
    return Lease(  # by position: twice as fast as by name
        task_id,
        attempt,
        nonce,
        expires,
        root,
        agent,
        Raw(payload.encode()) if payload else NULL,
        owner,
        parent or None,
        node or None,
        run,
        epoch,
        failures,
        losses,
        steps,
        None if attempt_timeout == "" else attempt_timeout,
        None if time_left == "" else time_left,
        _retry.decode(retry) if retry else None,
        _any.decode(metadata) if metadata else {},
        tuple(message_of(number, text) for number, text in messages),
    )


def message_of(number: int, text: str) -> Message:
    """A message as it lies in an inbox."""
    first, _, data = text.partition("\n")
    head = _head.decode(first)
    return Message(number, head.kind, head.topic, _any.decode(data), head.at)


def steps_of(flat: Sequence[bytes]) -> list[Step]:
    """A journal, given as keys and steps in turns."""
    return [step for _, step in sorted(_steps(flat), key=lambda each: each[0])]


def _steps(flat: Sequence[bytes]) -> Iterator[tuple[int, Step]]:
    for at in range(0, len(flat), 2):
        first, error, value = flat[at + 1].split(b"\n", 2)
        place = _place.decode(first)
        yield (
            place.n,
            Step(
                flat[at].decode(),
                place.position,
                place.state,
                Raw(value) if value else None,
                _error.decode(error) if error else None,
                place.at,
                place.attempt,
            ),
        )


def event_of(entry: Sequence[Any]) -> Event:
    """An event, as the stream has it."""
    cursor, (task_id, text) = entry
    told = _happening.decode(text)
    return Event(
        task_id.decode(),
        told.seq,
        told.kind,
        told.at,
        told.attempt,
        told.data,
        told.owner,
        cursor.partition(b"-")[0].decode(),
    )


def edges_of(text: bytes) -> tuple[Edge, ...]:
    """The edges of a goal."""
    return tuple(Edge(*edge) for edge in _edges.decode(text if text != b"{}" else b"[]"))


def limit_of(parts: Sequence[bytes | None]) -> tuple[Limit, int, float]:
    """A limit, how many slots of it are used, and the theoretical arrival time of its rate."""
    key, concurrency, rate, period, burst, used, tat = parts[:7]
    limit = Limit(
        (key or b"").decode(),
        int(concurrency) if concurrency else None,
        int(rate) if rate else None,
        int(period or 0),
        int(burst or 0),
    )
    return limit, int(used or 0), float(tat or 0)


def schedule_of(text: bytes | str) -> Schedule:
    """A schedule."""
    return _schedule.decode(text)


def worker_of(text: bytes, seen: bytes) -> WorkerInfo:
    """What is known of a worker."""
    return msgspec.structs.replace(_worker.decode(text), seen_at=int(float(seen)))
