"""A task from what was typed: for agents that are known by name only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from tenuto.errors import InvalidInput
from tenuto.tasks.clock import duration, instant, wall_clock
from tenuto.tasks.ids import check_id, check_name, new_id
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.task import TaskSpec
from tenuto.tasks.values import encode

__all__ = ["task_spec"]


def task_spec(
    agent: str,
    owner: str = "",
    payload: Any = None,
    *,
    id: str | None = None,
    title: str = "",
    priority: int = 0,
    delay: float | None = None,
    run_at: datetime | None = None,
    deadline: datetime | None = None,
    timeout: float | None = None,
    max_retries: int | None = None,
    idempotency_key: str | None = None,
    tags: tuple[str, ...] = (),
    limits: tuple[str, ...] = (),
    metadata: dict[str, Any] | None = None,
) -> TaskSpec:
    """The task; lengths of time in seconds. Raises `InvalidInput` that names the option which makes no sense."""
    if delay is not None and run_at is not None:
        raise InvalidInput("--delay and --at exclude each other: give one of them")
    at = None if run_at is None else instant(run_at, "--at")
    spec = TaskSpec(
        id=new_id() if id is None else check_id(id, "--id"),
        agent=check_name(agent, "agent"),
        owner=owner,
        payload=msgspec.Raw(encode(payload, "--payload")),
        title=title,
        priority=priority,
        run_at=at if delay is None else wall_clock() + duration(delay, "--delay"),
        deadline=None if deadline is None else instant(deadline, "--deadline"),
        timeout=None if timeout is None else duration(timeout, "--timeout"),
        idempotency_key=idempotency_key,
        tags=tags,
        limits=limits,
        metadata=metadata or {},
    )
    if max_retries is not None:
        spec = msgspec.structs.replace(spec, retry=RetryPolicy(max_retries=max_retries))
    spec.check()
    return spec
