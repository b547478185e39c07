"""The task verbs as commands of the command interface: what `CommandInterface` gets from an orchestrator with a store.

They are called as in Python (`cancel_task`, or `cancel-task`), and take what the verbs take, in JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import fields
from typing import Any

import msgspec

from tenuto.client import Client, TaskView
from tenuto.errors import InvalidInput, NotFound
from tenuto.supervisor.commands import Command, Parameter
from tenuto.tasks.ids import new_id
from tenuto.tasks.task import TaskSpec
from tenuto.tasks.values import encode

__all__ = ["task_commands"]

_TASK = Parameter("task_id", required=True, aliases=("id",))
_REASON = Parameter("reason")
_MOST = 1_000


def task_commands(client: Client) -> list[Command]:
    """The commands over `client`, each run on an event loop of its own."""

    async def enqueue(
        agent: str, payload: Any = None, owner_id: str = "", priority: int = 0, idempotency_key: str | None = None
    ) -> Mapping[str, str]:
        spec = TaskSpec(
            id=new_id(),
            agent=agent,
            owner=owner_id,
            payload=msgspec.Raw(encode(payload, f"the payload for agent {agent!r}")),
            priority=priority,
            idempotency_key=idempotency_key,
        )
        spec.check()
        return {"task_id": await client.enqueue_task(agent, spec)}

    async def data(task_id: str) -> Mapping[str, Any]:
        found = await client.get_task_data(task_id)
        if found is None:
            raise NotFound(f"there is no task {task_id!r}")
        return _document(found)

    async def listed(
        state: str | None = None,
        agent: str | None = None,
        owner_id: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Mapping[str, Any]:
        if limit > _MOST:
            raise InvalidInput(f"list-tasks: limit must be at most {_MOST:,}; read on with cursor")
        states = (state,) if state is not None else ()
        page = await client.list_tasks(states=states, agent=agent, owner_id=owner_id, cursor=cursor, limit=limit)
        return {"tasks": [_document(task) for task in page], "cursor": page.cursor}

    async def steer(task_id: str, message: str) -> None:
        await client.steer_task(task_id, message)

    async def retry(task_id: str, fresh: bool = False) -> None:
        await client.retry_task(task_id, fresh=fresh)

    priority = Parameter("priority", int)
    return [
        Command(
            "enqueue-task",
            "Submit a task.",
            _run(enqueue),
            (
                Parameter("agent", required=True),
                Parameter("payload", object),
                Parameter("owner_id"),
                priority,
                Parameter("idempotency_key"),
            ),
            acts=True,
        ),
        Command("get-task-status", "Show a task's status.", _run(client.get_task_status), (_TASK,)),
        Command("get-task-data", "Show everything about a task.", _run(data), (_TASK,)),
        Command("why", "Show why a task does not run.", _run(client.why), (_TASK,)),
        Command(
            "list-tasks",
            "List tasks, newest first.",
            _run(listed),
            (
                Parameter("state"),
                Parameter("agent"),
                Parameter("owner_id"),
                Parameter("cursor"),
                Parameter("limit", int),
            ),
        ),
        Command(
            "cancel-task", "Cancel a task and its descendants.", _run(client.cancel_task), (_TASK, _REASON), acts=True
        ),
        Command("pause-task", "Hold a task.", _run(client.pause_task), (_TASK, _REASON), acts=True),
        Command("resume-task", "Let a paused task go on.", _run(client.resume_task), (_TASK,), acts=True),
        Command("retry-task", "Run a finished task again.", _run(retry), (_TASK, Parameter("fresh", bool)), acts=True),
        Command(
            "steer-task",
            "Put a message before a task's next turn.",
            _run(steer),
            (_TASK, Parameter("message", required=True)),
            acts=True,
        ),
    ]


def _run(verb: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    def run(**values: Any) -> Any:
        return asyncio.run(verb(**values))

    return run


def _document(task: TaskView) -> dict[str, Any]:
    return {field.name: getattr(task, field.name) for field in fields(task) if field.name != "stored"}
