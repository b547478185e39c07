"""What all task agents have in common: a name that tasks are addressed to, and what holds for each of its tasks."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from tenuto.agents.specs import Duration, Instant, build_spec, retry_policy
from tenuto.errors import InvalidInput
from tenuto.tasks.clock import duration
from tenuto.tasks.ids import check_name
from tenuto.tasks.limits import Limit
from tenuto.tasks.money import Budget
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.task import TaskSpec, Unique

__all__ = ["TaskAgent", "TaskOptions", "found_at", "load"]


class TaskOptions(TypedDict, total=False):
    """What holds for all tasks of an agent; see `task_agent`."""

    version: str
    retry: RetryPolicy | None
    max_retries: int | None
    timeout: Duration | None
    attempt_timeout: Duration | None
    limits: Sequence[str]
    concurrency: int | None
    rate: int | tuple[int, Duration] | None


class TaskAgent:
    """A task agent: `create_task` makes tasks for it, `handle` carries them out (see `workers.handler`)."""

    def __init__(
        self,
        name: str,
        *,
        version: str = "",
        retry: RetryPolicy | None = None,
        max_retries: int | None = None,
        timeout: Duration | None = None,
        attempt_timeout: Duration | None = None,
        limits: Sequence[str] = (),
        concurrency: int | None = None,
        rate: int | tuple[int, Duration] | None = None,
    ) -> None:
        """See `task_agent` for the parameters."""
        self.name = check_name(name, "agent name")
        if not isinstance(version, str):
            raise InvalidInput(f"version of agent {self.name!r} must be text, not {type(version).__name__}")
        self.version = version
        self.retry = retry_policy(retry, max_retries)
        """for tasks with no policy of their own; None: as its worker says"""
        for field, span in (("timeout", timeout), ("attempt_timeout", attempt_timeout)):
            if span is not None:
                duration(span, f"{field} of agent {name!r}")
        self._timeout = timeout
        self._attempt_timeout = attempt_timeout
        self.limits = _own_limit(self.name, concurrency, rate)
        """definitions that its workers put into the store"""
        self._limit_keys = (*limits, *(limit.key for limit in self.limits))

    def __repr__(self) -> str:
        return f"<task agent {self.name!r}>"

    def create_task(
        self,
        owner_id: str = "",
        payload: Any = None,
        *,
        id: str | None = None,
        title: str = "",
        priority: int = 0,
        run_at: Instant | None = None,
        delay: Duration | None = None,
        deadline: Instant | None = None,
        timeout: Duration | None = None,
        attempt_timeout: Duration | None = None,
        idempotency_key: str | None = None,
        unique: str | Unique | None = None,
        limits: Sequence[str] = (),
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        retry: RetryPolicy | None = None,
        max_retries: int | None = None,
        budget: float | Budget | None = None,
    ) -> TaskSpec:
        """A task for this agent, to be submitted with `enqueue_task`, added to a goal, or spawned.

        Durations are seconds or a `timedelta`; instants are aware datetimes or Unix seconds. budget: the most that it
        may cost with all that is below it: US dollars, or a `Budget` of money, tokens or requests. What is not given
        comes from the agent.

        Raises `InvalidInput`, which names the field, and `Unstorable` for a payload with no JSON form. An LLM agent
        raises `InvalidPayload` for a payload that it cannot begin with.
        """
        spec = build_spec(
            self.name,
            owner_id,
            payload,
            id=id,
            title=title,
            priority=priority,
            run_at=run_at,
            delay=delay,
            deadline=deadline,
            timeout=self._timeout if timeout is None else timeout,
            attempt_timeout=self._attempt_timeout if attempt_timeout is None else attempt_timeout,
            idempotency_key=idempotency_key,
            unique=unique,
            limits=limits if isinstance(limits, str) else self._with_own(limits),
            tags=tags,
            metadata=metadata,
            retry=retry_policy(retry, max_retries, self.retry),
            budget=budget,
        )
        self.check_payload(bytes(spec.payload), f"task {spec.id!r}")
        return spec

    def check_payload(self, payload: bytes, where: str) -> None:
        """Raises `InvalidPayload` for a payload, as JSON, that no attempt could begin with: none, here."""

    def _with_own(self, limits: Sequence[str]) -> tuple[str, ...]:
        return (*self._limit_keys, *(key for key in limits if key not in self._limit_keys))


def _own_limit(name: str, concurrency: int | None, rate: int | tuple[int, Duration] | None) -> tuple[Limit, ...]:
    if concurrency is None and rate is None:
        return ()
    count, period = rate if isinstance(rate, tuple) else (rate, 1)
    return (Limit(f"agent:{name}", concurrency, count, duration(period, "rate")).check(),)


def found_at(agent: object) -> tuple[str, str] | None:
    """The module and name under which `agent` is found in other processes too; None for what the user's main module
    or a function holds."""
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "__main__") != "__main__":
            for name, value in list(vars(module).items()):
                if value is agent:
                    return module.__name__, name
    return None


def load(module: str, path: str) -> Any:
    """The agent that `found_at` has found there."""
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found
