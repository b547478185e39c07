"""A task from what was typed: for agents that are known by name only."""

from __future__ import annotations

from typing import Any

from tenuto.agents.specs import build_spec, retry_policy
from tenuto.tasks.ids import check_name
from tenuto.tasks.task import TaskSpec

__all__ = ["task_spec"]


def task_spec(
    agent: str, owner: str, payload: Any, *, id: str | None = None, max_retries: int | None = None, **fields: Any
) -> TaskSpec:
    """The task; `fields` are those of `build_spec`. Raises `InvalidInput` that names the field."""
    told: dict[str, Any] = {
        "title": "",
        "priority": 0,
        "run_at": None,
        "delay": None,
        "deadline": None,
        "timeout": None,
        "attempt_timeout": None,
        "idempotency_key": None,
        "unique": None,
        "limits": (),
        "tags": (),
        "metadata": None,
        "retry": retry_policy(None, max_retries),
    }
    return build_spec(check_name(agent, "agent"), owner, payload, id=id, **told | fields)
