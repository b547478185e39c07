"""From what people write about a task to a `TaskSpec`: seconds and dates become milliseconds, payloads JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from tenuto.errors import InvalidInput
from tenuto.tasks.clock import Millis, duration, instant, wall_clock
from tenuto.tasks.ids import check_id, new_id
from tenuto.tasks.money import DOLLAR, LARGEST_AMOUNT, Budget
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.task import NULL, TaskSpec, Unique
from tenuto.tasks.values import encode

__all__ = ["Duration", "Instant", "build_spec", "retry_policy"]

Duration: TypeAlias = float | timedelta
"""Seconds, or a `timedelta`."""
Instant: TypeAlias = float | datetime
"""Unix seconds, or an aware `datetime`."""


def retry_policy(
    retry: RetryPolicy | None, max_retries: int | None, base: RetryPolicy | None = None
) -> RetryPolicy | None:
    """`retry`, with `max_retries` where that is given; None when neither is. Checked.

    `base` is what `max_retries` alone changes.
    """
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise InvalidInput(f"retry must be a RetryPolicy, not {type(retry).__name__}")
    if max_retries is None:
        return None if retry is None else retry.check()
    if isinstance(max_retries, bool) or not isinstance(max_retries, int):
        raise InvalidInput(f"max_retries must be a whole number, not {max_retries!r}")
    return replace(retry or base or RetryPolicy(), max_retries=max_retries).check()


def _names(values: Sequence[str] | str, field: str) -> tuple[str, ...]:
    if isinstance(values, str):
        raise InvalidInput(f"{field} must be a list of names, not the single text {values!r}")
    return tuple(values)


def _span(value: Duration | None, field: str) -> Millis | None:
    return None if value is None else duration(value, field)


def build_spec(
    agent: str,
    owner_id: str,
    payload: Any,
    *,
    id: str | None,
    title: str,
    priority: int,
    run_at: Instant | None,
    delay: Duration | None,
    deadline: Instant | None,
    timeout: Duration | None,
    attempt_timeout: Duration | None,
    idempotency_key: str | None,
    unique: str | Unique | None,
    limits: Sequence[str],
    tags: Sequence[str],
    metadata: Mapping[str, Any] | None,
    retry: RetryPolicy | None,
    budget: float | Budget | None = None,
) -> TaskSpec:
    """The checked spec of a task for `agent`. Raises `InvalidInput`, which names the field, and `Unstorable`."""
    task_id = new_id() if id is None else check_id(id)
    if run_at is not None and delay is not None:
        raise InvalidInput(f"task {task_id!r}: give run_at or delay, not both")
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise InvalidInput(f"priority must be a whole number, not {priority!r}")
    for field, text in (("owner_id", owner_id), ("title", title)):
        if not isinstance(text, str):
            raise InvalidInput(f"{field} must be text, not {type(text).__name__}")
    unique = Unique(unique) if isinstance(unique, str) else unique
    if unique is not None and not isinstance(unique, Unique):
        raise InvalidInput(f"unique must be a key or a Unique, not {type(unique).__name__}")
    begin = None if run_at is None else instant(run_at, "run_at")
    if delay is not None:
        begin = wall_clock() + duration(delay, "delay")
    spec = TaskSpec(
        id=task_id,
        agent=agent,
        owner=owner_id,
        payload=NULL if payload is None else msgspec.Raw(encode(payload, f"the payload of task {task_id!r}")),
        title=title,
        priority=priority,
        run_at=begin,
        deadline=None if deadline is None else instant(deadline, "deadline"),
        timeout=_span(timeout, "timeout"),
        attempt_timeout=_span(attempt_timeout, "attempt_timeout"),
        idempotency_key=idempotency_key,
        unique=unique,
        limits=_names(limits, "limits"),
        tags=_names(tags, "tags"),
        metadata=_metadata(metadata, task_id),
        retry=retry,
        budget=_budget(budget, task_id),
    )
    spec.check()
    return spec


def _metadata(given: Mapping[str, Any] | None, task_id: str) -> dict[str, Any]:
    if not given:
        return {}
    stored = msgspec.json.decode(encode(given, f"the metadata of task {task_id!r}"))
    if not isinstance(stored, dict):
        raise InvalidInput(f"metadata must be a mapping, not {type(given).__name__}")
    return stored


def _budget(given: float | Budget | None, task_id: str) -> Budget | None:
    if given is None or isinstance(given, Budget):
        return given
    if type(given) not in (int, float) or not 0 <= given * DOLLAR <= LARGEST_AMOUNT:
        raise InvalidInput(f"task {task_id!r}: budget must be US dollars or a Budget, not {given!r}")
    return Budget(money=round(given * DOLLAR))
