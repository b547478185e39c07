"""The task verbs as commands of the command interface: what `CommandInterface` gets from an orchestrator with a store.

They are called as in Python (`cancel_task`, or `cancel-task`), and take what the verbs take, in JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import fields
from typing import Any

import msgspec

from tenuto.client import Client, TaskView
from tenuto.errors import Conflict, InvalidInput, NotFound, TaskCancelled, TaskFailed
from tenuto.supervisor.commands import Command, Parameter
from tenuto.tasks.ids import new_id
from tenuto.tasks.states import Status
from tenuto.tasks.task import TaskSpec
from tenuto.tasks.values import encode

__all__ = ["task_commands"]

_TASK = Parameter("task_id", required=True, aliases=("id",))
_REASON = Parameter("reason")
_AGENT = Parameter("agent", required=True)
_OWNER = Parameter("owner_id")
_PRIORITY = Parameter("priority", int)
_CALL = Parameter("tool_call_id", required=True)
_DECISION = (_TASK, _CALL, Parameter("note"), Parameter("by"))
_MOST = 1_000


def task_commands(client: Client) -> list[Command]:
    """The commands over `client`, each run on an event loop of its own."""
    return [*_submitting(client), *_reading(client), *_directing(client), *_answering(client)]


def _submitting(client: Client) -> list[Command]:
    async def enqueue(
        agent: str, payload: Any = None, owner_id: str = "", priority: int = 0, idempotency_key: str | None = None
    ) -> Mapping[str, str]:
        spec = _spec(agent, payload, owner_id, priority, idempotency_key)
        return {"task_id": await client.enqueue_task(agent, spec)}

    async def enqueue_all(
        agent: str, payloads: Sequence[Any], owner_id: str = "", priority: int = 0
    ) -> Mapping[str, Sequence[str]]:
        specs = [_spec(agent, payload, owner_id, priority, None) for payload in payloads]
        return {"task_ids": await client.enqueue_batch(agent, specs)}

    payload, payloads = Parameter("payload", object), Parameter("payloads", list, required=True)
    one = (_AGENT, payload, _OWNER, _PRIORITY, Parameter("idempotency_key"))
    many = (_AGENT, payloads, _OWNER, _PRIORITY)
    return [
        Command("enqueue-task", "Submit a task.", _run(enqueue), one, acts=True),
        Command("enqueue-batch", "Submit a task for each payload.", _run(enqueue_all), many, acts=True),
    ]


def _reading(client: Client) -> list[Command]:
    async def data(task_id: str) -> Mapping[str, Any]:
        found = await client.get_task_data(task_id)
        if found is None:
            raise NotFound(f"there is no task {task_id!r}")
        return _document(found)

    async def result(task_id: str) -> Mapping[str, Any]:
        status = await client.get_task_status(task_id)
        if status in (Status.QUEUED, Status.PROCESSING):
            raise Conflict(f"task {task_id!r} has no result yet: it is {status}")
        try:
            return {"task_id": task_id, "result": await client.get_task_result(task_id)}
        except (TaskFailed, TaskCancelled) as error:
            raise Conflict(str(error)) from None

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

    filters = (Parameter("state"), Parameter("agent"), _OWNER, Parameter("cursor"), Parameter("limit", int))
    return [
        Command("get-task-status", "Show a task's status.", _run(client.get_task_status), (_TASK,)),
        Command("get-task-data", "Show everything about a task.", _run(data), (_TASK,)),
        Command("get-task-result", "Show the result of a task that is done.", _run(result), (_TASK,)),
        Command("why", "Show why a task does not run.", _run(client.why), (_TASK,)),
        Command("list-tasks", "List tasks, newest first.", _run(listed), filters),
    ]


def _directing(client: Client) -> list[Command]:
    async def steer(task_id: str, message: Any) -> None:
        await client.steer_task(task_id, message)

    async def retry(task_id: str, fresh: bool = False) -> None:
        await client.retry_task(task_id, fresh=fresh)

    message = Parameter("message", object, required=True, aliases=("messages",))
    step = (_TASK, Parameter("key", required=True), Parameter("how", required=True), Parameter("value", object))
    return [
        Command(
            "cancel-task", "Cancel a task and its descendants.", _run(client.cancel_task), (_TASK, _REASON), acts=True
        ),
        Command("pause-task", "Hold a task.", _run(client.pause_task), (_TASK, _REASON), acts=True),
        Command("resume-task", "Let a paused task go on.", _run(client.resume_task), (_TASK,), acts=True),
        Command("retry-task", "Run a finished task again.", _run(retry), (_TASK, Parameter("fresh", bool)), acts=True),
        Command("steer-task", "Put a message before a task's next turn.", _run(steer), (_TASK, message), acts=True),
        Command(
            "resolve-step",
            "Decide about a step whose outcome is unknown: done, retry or fail.",
            _run(client.resolve_step),
            step,
            acts=True,
        ),
    ]


def _answering(client: Client) -> list[Command]:
    async def complete(task_id: str, tool_call_id: str, result: Any = None) -> Mapping[str, bool]:
        return {"delivered": await client.complete_deferred_tool(task_id, tool_call_id, result)}

    async def approve(
        task_id: str, tool_call_id: str, note: str | None = None, by: str | None = None
    ) -> Mapping[str, bool]:
        return {"delivered": await client.approve(task_id, tool_call_id, note, by=by)}

    async def reject(
        task_id: str, tool_call_id: str, note: str | None = None, by: str | None = None
    ) -> Mapping[str, bool]:
        return {"delivered": await client.reject(task_id, tool_call_id, note, by=by)}

    return [
        Command(
            "complete-deferred-tool",
            "Deliver the result of work that a task has deferred.",
            _run(complete),
            (_TASK, _CALL, Parameter("result", object)),
            acts=True,
        ),
        Command("approve", "Approve what a task asks for.", _run(approve), _DECISION, acts=True),
        Command("reject", "Reject what a task asks for.", _run(reject), _DECISION, acts=True),
    ]


def _spec(agent: str, payload: Any, owner_id: str, priority: int, idempotency_key: str | None) -> TaskSpec:
    spec = TaskSpec(
        id=new_id(),
        agent=agent,
        owner=owner_id,
        payload=msgspec.Raw(encode(payload, f"the payload for agent {agent!r}")),
        priority=priority,
        idempotency_key=idempotency_key,
    )
    spec.check()
    return spec


def _run(verb: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    def run(**values: Any) -> Any:
        return asyncio.run(verb(**values))

    return run


def _document(task: TaskView) -> dict[str, Any]:
    return {field.name: getattr(task, field.name) for field in fields(task) if field.name != "stored"}
